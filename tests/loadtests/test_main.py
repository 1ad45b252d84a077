from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_WITHOUT_LOCUST = """
import runpy, sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "locust":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
sys.argv = ["loadtests", "run"]
runpy.run_module("loadtests", run_name="__main__")
"""

_TORII = """
import sys
from gateway.cli import app
try:
    app(["--help"])
except SystemExit:
    assert not {"locust", "gevent", "loadtests"} & set(sys.modules), "torii --help has imported load tests"
"""


def python(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *argv], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def help_of(*argv: str) -> str:
    ended = python("-m", *argv, "--help")
    assert ended.returncode == 0, ended.stderr
    return " ".join(ended.stdout.split())


def test_without_the_extra_it_says_how_to_install_it() -> None:
    ended = python("-c", _WITHOUT_LOCUST)
    told = "error: load tests need locust, which is not installed: pip install 'torii-gateway[load]'\n"
    assert (ended.returncode, ended.stderr) == (2, told)


def test_the_help_of_torii_needs_no_load_tests() -> None:
    ended = python("-c", _TORII)
    assert ended.returncode == 0, ended.stderr
    assert "loadtest" in ended.stdout


def test_commands_are_called_as_people_call_them() -> None:
    calls: Sequence[tuple[Sequence[str], str]] = [
        (("gateway", "compare"), "torii compare"),
        (("loadtests", "run"), "torii loadtest run"),
    ]
    for argv, name in calls:
        told = help_of(*argv)
        assert f"Usage: {name} [OPTIONS]" in told
        assert f"Examples: {name}" in told
