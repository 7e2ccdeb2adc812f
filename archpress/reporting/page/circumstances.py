"""Settings, environment, and what the run found out about its input."""

import tomllib
from typing import Any

from archpress.reporting.page.markup import details, paragraph, table
from archpress.reporting.page.networks import Networks
from archpress.reporting.run_view import RunView


def build(view: RunView, networks: Networks) -> str:
    """Return notes, the environment and all settings."""
    said = (*view.network.get("notes", []), view.network.get("known", ""))
    notes = "".join(paragraph(f"{note}.") for note in said if note)
    environment = [[name, str(value)] for name, value in view.environment.items()]
    parts = [notes]
    if environment:
        parts.append(table(["environment", ""], environment))
    written = tomllib.loads((view.folder / "run.toml").read_text())
    parts.append(details("All settings", table(["setting", "value"], _flat(written))))
    return "".join(parts)


def _flat(values: dict[str, Any], prefix: str = "") -> list[list[str]]:
    rows: list[list[str]] = []
    for name, value in values.items():
        inner = isinstance(value, dict)
        rows += _flat(value, f"{prefix}{name}.") if inner else [[prefix + name, str(value)]]
    return rows
