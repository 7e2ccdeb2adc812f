"""JSON lines of architectures: the population between the commands ``sample`` and ``evaluate``."""

import json
from pathlib import Path

from archpress.architectures.architecture import Architecture
from archpress.errors import InvalidArchitectureError


def read_architectures(path: Path) -> list[Architecture]:
    """Return the architectures of a JSON lines file.

    Raises:
        InvalidArchitectureError: The file cannot be read, is empty, or a line is no architecture;
            names the line.
    """
    try:
        lines = Path(path).read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArchitectureError(f"{path} cannot be read: {error}") from error
    found = []
    for number, line in enumerate(lines, 1):
        try:
            found.append(Architecture.from_json(json.loads(line)))
        except (json.JSONDecodeError, InvalidArchitectureError) as error:
            raise InvalidArchitectureError(f"{path}, line {number}: {error}") from error
    if not found:
        raise InvalidArchitectureError(f"{path} holds no architecture")
    return found
