"""``reference/settings.md``: every key of a settings file, read off the settings and profiles."""

import inspect
import re
from collections.abc import Iterator
from typing import Any

INTRODUCTION = """\
# Settings

A run's settings are a profile, a TOML file over it (`--settings`), and flags over both. This page
is made from the settings themselves: a table for each table of the file, with what a key is where
nothing sets it, and what the profiles set. From Python a key is named with two underscores for the
dot: `guided__rounds=2`.

At the top of the file stand `network` and `seed` (0), which decides all randomness.
"""
ATTRIBUTE = re.compile(r"^    (\w+): ")


def settings_page() -> str:
    """Return the page as Markdown."""
    from archpress.compression.settings import PROFILES, RunSettings, load_settings

    profiles = {name: load_settings(name, flags={"network": "x"}) for name in PROFILES}
    tables = {
        name: field.annotation
        for name, field in RunSettings.model_fields.items()
        if hasattr(field.annotation, "model_fields")
    }
    sections = [
        "\n".join(_section(name, model, getattr(RunSettings(network="x"), name),
                           {each: getattr(run, name) for each, run in profiles.items()}))
        for name, model in tables.items()
    ]  # fmt: skip
    return "\n".join([INTRODUCTION, *sections])


def _section(name: str, model: Any, usual: Any, profiles: dict[str, Any]) -> Iterator[str]:
    text, told = _documentation(model)
    yield f"## {name}\n\n{text}\n"
    columns = ("key", "default", *profiles)
    yield "| " + " | ".join((*columns, "")) + " |\n|" + "---|" * (len(columns) + 1)
    for key in model.model_fields:
        default = getattr(usual, key)
        values = (getattr(table, key) for table in profiles.values())
        cells = ("" if value == default else _shown(value) for value in values)
        yield "| " + " | ".join((f"`{key}`", _shown(default), *cells, told.get(key, ""))) + " |"
    yield ""


def _documentation(model: Any) -> tuple[str, dict[str, str]]:
    """Return what a docstring says before its attributes, and of each of them."""
    text, _, attributes = (inspect.getdoc(model) or "").partition("\nAttributes:\n")
    told: dict[str, str] = {}
    key = ""
    for line in attributes.splitlines():
        if found := ATTRIBUTE.match(line):
            key = found[1]
            told[key] = ATTRIBUTE.sub("", line)
        elif key:
            told[key] += f" {line.strip()}"
    plain = {name: " ".join(words.split()).replace("|", "\\|") for name, words in told.items()}
    return " ".join(text.split()), plain


def _shown(value: Any) -> str:
    if value is None or value in ("", ()):
        return "none"
    if isinstance(value, tuple):
        return ", ".join(f"`{each}`" for each in value)
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"
