"""What a tool has to be able to do to be set beside our generator."""

from __future__ import annotations

from typing import Protocol

from loadtests.crosscheck.asked import Turn
from loadtests.crosscheck.command import Command
from loadtests.crosscheck.measured import Measured


class Tool(Protocol):
    """Makes a command out of a turn, and figures out of what the command left behind."""

    name: str

    def missing(self) -> str | None:
        """Why it cannot run here and what to do about it, or None."""

    def command(self, turn: Turn) -> Command:
        """The command; writes what it needs into the turn's folder."""

    def read(self, output: str, turn: Turn) -> Measured:
        """The figures; raises ToolFailed where there are none."""
