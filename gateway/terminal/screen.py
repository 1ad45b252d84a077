"""Where the command writes: its answers, and what went wrong."""

from __future__ import annotations

from typing import NoReturn

import typer
from rich.console import Console

out = Console()
err = Console(stderr=True)


def fail(text: str) -> NoReturn:
    """Say what went wrong, in rich's markup, and end with exit code 1."""
    err.print(f"[red]error:[/red] {text}", highlight=False, markup=True, soft_wrap=True)
    raise typer.Exit(1)


def plain(text: str) -> str:
    """Text of others, so that it cannot be taken for markup."""
    return text.replace("[", r"\[")
