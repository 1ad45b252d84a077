"""What the browser client consists of, tested in node: TUF, zips, a device's life, drawings."""

from __future__ import annotations

import subprocess
from pathlib import Path


def test_the_client_passes_its_own_tests(installed: Path) -> None:
    ran = subprocess.run(["npm", "test", "--silent"], cwd=installed, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout[-8000:] + ran.stderr[-2000:]
    assert "# fail 0" in ran.stdout


def test_the_types_are_right(installed: Path) -> None:
    ran = subprocess.run(
        ["npm", "run", "check", "--silent"], cwd=installed, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout[-8000:]


def test_the_client_is_pinned_and_names_no_address(installed: Path) -> None:
    package = (installed / "package.json").read_text()
    assert "://" not in package
    assert not [character for character in "^~*" if f'"{character}' in package]
    assert not (installed / "package-lock.json").exists()
