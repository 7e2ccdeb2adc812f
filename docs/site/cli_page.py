"""``reference/cli.md``: every command with what its help says, read off the commands."""

import html
from collections.abc import Iterator
from typing import Any

INTRODUCTION = """\
# Command line

This page is made from the program's own help. Options come in any order; those marked *needed* have
no default. `archpress` by itself says where to start, `archpress --version` which version it is.

A mistake that can be mended is one sentence that begins with `error:`, and exit status 2;
interrupted by Ctrl-C, the status is 130.
"""


def cli_page() -> str:
    """Return the page as Markdown."""
    commands = dict(all_commands())
    listed = "".join(
        f"| [`{name}`](#{_anchor(name)}) | {_text(command.help)} |\n"
        for name, command in commands.items()
    )
    sections = (_section(name, command) for name, command in commands.items())
    table = f"| command | what it does |\n|---|---|\n{listed}"
    return "\n".join([INTRODUCTION, table, *sections])


def all_commands() -> Iterator[tuple[str, Any]]:
    """Yield every command by its full name, those of groups in place of their group."""
    import typer

    from archpress.cli import app

    def below(name: str, command: Any) -> Iterator[tuple[str, Any]]:
        parts = getattr(command, "commands", None)
        if parts is None:
            yield name, command
            return
        for part, inner in parts.items():
            yield from below(f"{name} {part}", inner)

    yield from below("archpress", typer.main.get_command(app))


def _anchor(name: str) -> str:
    return name.replace(" ", "-")


def _section(name: str, command: Any) -> str:
    shown = [each for each in command.params if not getattr(each, "hidden", False)]
    arguments = [each for each in shown if each.param_type_name == "argument"]
    options = [each for each in shown if each.param_type_name == "option"]
    usage = " ".join([name, *map(_usage_of, arguments), *(["[OPTIONS]"] if options else [])])
    parts = [f"## {name}\n", f"{_text(command.help)}\n", f"```text\n{usage}\n```\n"]
    if arguments:
        parts.append(_table(("argument", "what it is"), map(_argument_row, arguments)))
    if options:
        columns = ("option", "default", "what it does")
        parts.append(_table(columns, map(_option_row, options)))
    return "\n".join(parts)


def _usage_of(argument: Any) -> str:
    name = argument.name.upper()
    many = argument.nargs == -1 or getattr(argument, "multiple", False)
    return f"{name}..." if many else name


def _argument_row(argument: Any) -> tuple[str, ...]:
    return (f"`{_usage_of(argument)}`", _text(argument.help))


def _option_row(option: Any) -> tuple[str, ...]:
    name = ", ".join([*option.opts, *option.secondary_opts])
    if not option.is_flag:
        name += f" {option.metavar or option.opts[0].lstrip('-').replace('-', '_').upper()}"
    return (f"`{name}`", _default(option), _text(option.help))


def _default(option: Any) -> str:
    if option.required:
        return "*needed*"
    return "" if option.default is None or option.is_flag else f"`{option.default}`"


def _table(columns: tuple[str, ...], rows: Any) -> str:
    lines = [columns, tuple("---" for _ in columns), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def _text(text: str | None) -> str:
    """Return a help text on one line, with nothing in it that Markdown would read."""
    plain = html.escape(" ".join((text or "").split()), quote=False)
    return plain.replace("|", "\\|").replace("_", "\\_").replace("*", "\\*").replace("[", "\\[")
