"""What a result file says of paths: no more than where things are from here, for it is read on other machines."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loadtests.bench.processes import ROOT


def command(argv: Sequence[str]) -> str:
    """A command line of `python -m loadtests`, as it can be typed elsewhere."""
    return shlex.join(["python", "-m", "loadtests", *map(_argument, argv)])


def value(given: Any) -> Any:
    """What a JSON or TOML document has, with all paths of this machine in it made portable."""
    if isinstance(given, dict):
        return {key: value(each) for key, each in given.items()}
    if isinstance(given, list | tuple):
        return [value(each) for each in given]
    return path(given) if isinstance(given, str) else given


def path(text: str) -> str:
    """An absolute path from the working folder or the checkout, else its name alone; any other text as it is."""
    found = Path(text)
    if not found.is_absolute():
        return text
    for folder in (Path.cwd(), ROOT):
        if found.is_relative_to(folder):
            return str(found.relative_to(folder))
    return found.name


def words(text: str) -> str:
    """A message, without the folders of this machine that it names."""
    for folder in sorted({str(Path.cwd()), str(ROOT)} - {"/"}, key=len, reverse=True):
        text = text.replace(f"{folder}/", "")
    return text.replace(f"{home}/", "~/") if (home := str(Path.home())) != "/" else text


def _argument(text: str) -> str:
    option, equals, given = text.partition("=")
    return f"{option}={path(given)}" if equals and option.startswith("--") else path(text)
