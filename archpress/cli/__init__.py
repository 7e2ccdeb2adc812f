"""The command line: one command per stage, and ``compress``, which runs them all.

Modules import torch and what needs it inside their commands, so that help is there at once.
"""

from archpress.cli.app import app, main

__all__ = ["app", "main"]
