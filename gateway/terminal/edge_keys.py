"""Where the keys of an edge folder are, and what opens them: variables, or whoever sits at the keyboard."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from gateway.terminal.screen import fail, plain

if TYPE_CHECKING:
    from gateway.edge.keys import KeyFolder
    from gateway.edge.roles import Kind


def key_folder(edge: Path, given: Path | None) -> KeyFolder:
    """The folder of keys that was given, or the one beside an edge folder; ends the command where it is in that one."""
    from gateway.edge.keys import KeyFolder

    edge = edge.resolve()
    folder = given or edge.with_name(f"{edge.name}-keys")
    if folder.resolve().is_relative_to(edge):
        fail(plain(f"--keys {folder}: expected a folder outside of {edge}, of which devices can read"))
    return KeyFolder(folder, passphrase)


def passphrase(kind: Kind, file: Path) -> str:
    """From the environment, else asked for; a new one twice. Raises NotAllowed where nobody can be asked."""
    from gateway.edge.keys import from_environment, variable

    if os.environ.get(variable(kind)) or not sys.stdin.isatty():
        return from_environment(kind, file)
    again = not file.exists()
    asked: str = typer.prompt(f"Passphrase of {file}", hide_input=True, confirmation_prompt=again, err=True)
    return asked
