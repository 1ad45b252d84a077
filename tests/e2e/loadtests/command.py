"""`python -m loadtests` and `torii loadtest` as people call them, and the results that they write."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtests.results.files import read
from loadtests.results.schema import Figure, Result, Row
from tests.e2e.gateway import RunningGateway

ROOT = Path(__file__).resolve().parents[3]
LOADTESTS = (sys.executable, "-m", "loadtests")
TORII = (sys.executable, "-m", "gateway", "loadtest")


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    status: int
    out: str
    err: str
    folder: Path

    @property
    def result(self) -> Result:
        (file,) = self.folder.glob("*.json")
        return read(file)

    def row(self, deployment: str, dialect: str = "v2-json") -> Row:
        (found,) = [each for each in self.result.rows if (each.deployment, each.dialect) == (deployment, dialect)]
        return found


def begin(folder: Path, *argv: str, by: Sequence[str] = LOADTESTS) -> subprocess.Popen[str]:
    """A command that runs; its results go into a folder."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TORII_")}
    return subprocess.Popen(
        [*by, *argv, *(["--out", str(folder)] if argv[0] == "run" else [])],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process: subprocess.Popen[str], folder: Path) -> Ended:
    """A command that has begun, once it has ended."""
    with process:
        out, err = process.communicate(timeout=180)
    return Ended(process.returncode, out, err, folder)


def call(folder: Path, *argv: str, by: Sequence[str] = LOADTESTS) -> Ended:
    """A command to its end."""
    return end(begin(folder, *argv, by=by), folder)


def quick(name: str, *argv: str, seconds: float = 0.5) -> list[str]:
    """A scenario that comes with Torii, quicker than quick, for models of any inputs."""
    return ["run", name, "--quick", "--payload", "invented", "--warm-up", "0", "--seconds", str(seconds), *argv]


def requests(gateway: RunningGateway) -> int:
    """How many requests to models a gateway has taken."""
    return sum(each["requests"] for each in gateway.status()["frontends"])


def at(gateway: RunningGateway) -> list[str]:
    """The options that say where a gateway runs."""
    return ["--url", gateway.url, "--control", gateway.control, "--grpc-port", gateway.grpc.rpartition(":")[2]]


def figure(row: Row, name: str) -> Figure:
    (found,) = [each for each in row.figures if each.name == name]
    return found


def scenario(folder: Path, text: str) -> str:
    """A file of one's own."""
    file = folder / "mine.toml"
    file.write_text(text)
    return str(file)
