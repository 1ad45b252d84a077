"""What the kernel tells in files: read without ever failing, below a root that tests can choose."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Files:
    """The files of a machine, by their paths below `root` (without the leading slash)."""

    root: Path = Path("/")

    def text(self, path: str) -> str:
        """A file's text without white space and NULs around it; empty where it cannot be read."""
        try:
            return (self.root / path).read_text(errors="replace").strip("\0 \t\n")
        except OSError:
            return ""

    def number(self, path: str) -> int | None:
        """A file's whole number; None where there is none."""
        text = self.text(path)
        return int(text) if text.isdecimal() else None

    def exists(self, path: str) -> bool:
        """Whether it is there."""
        try:
            return (self.root / path).exists()
        except OSError:
            return False

    def matching(self, pattern: str) -> list[str]:
        """The paths that match a pattern, sorted."""
        try:
            return sorted(found.relative_to(self.root).as_posix() for found in self.root.glob(pattern))
        except OSError:
            return []
