"""Where the clients are that people already have: each in an environment of its own below `.clients/`."""

from __future__ import annotations

import ast
import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CLIENTS = ROOT / ".clients"
SCRIPTS = Path(__file__).parent / "scripts"


def program(client: str, name: str = "python") -> str:
    """A program of a client's environment; skips the test where `make clients` has not installed the client."""
    folder = CLIENTS / client
    if not (folder / ".installed").exists():
        pytest.skip(f"{client} is not installed in {CLIENTS.name}/{client}: make clients")
    path = folder / ("node_modules/.bin" if client == "newman" else "bin") / name
    assert path.exists(), f"{path} is missing: delete {folder}, then make clients"
    return str(path)


def python(client: str) -> str:
    """The interpreter that a client runs in; `tensorflow` and `requests` live in the environment of the tests."""
    return sys.executable if client in {"tensorflow", "requests"} else program(client)


def command(name: str) -> str:
    """A program of the machine; skips the test where there is none."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not on PATH")
    return path


def cases(script: str) -> list[str]:
    """The cases of a script: its public functions. It is read, not imported: its client lives elsewhere."""
    tree = ast.parse((SCRIPTS / script).read_text())
    functions = [each.name for each in tree.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]
    return [name for name in functions if not name.startswith("_")]
