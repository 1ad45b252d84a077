"""Every snippet of docs/clients.md does what it says: "```python triton 7" runs with tritonclient and answers 7."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.clients.environments import ROOT, command, program, python
from tests.e2e.gateway import RunningGateway

_BLOCK = re.compile(r"^```(python|bash) (\w+) (\d)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PAGE = (ROOT / "docs" / "clients.md").read_text()


@dataclass(frozen=True)
class Snippet:
    """A fenced block, what it runs with, and the digit that it has to print."""

    language: str
    client: str
    answer: int
    code: str

    def __str__(self) -> str:
        line = 1 + _PAGE[: _PAGE.index(self.code)].count("\n")
        return f"line {line}: {self.language} {self.client}"

    def arguments(self) -> list[str]:
        """The command that runs it."""
        if self.language == "python":
            return [python(self.client), "-c", self.code]
        if self.client == "curl":
            command("curl")
        return ["bash", "-euo", "pipefail", "-c", self.code]

    def path(self) -> str:
        """PATH, with the client's own programs."""
        own = Path(program("mlserver", "mlserver")).parent if self.client == "mlserver" else Path(sys.executable).parent
        return f"{own}{os.pathsep}{os.environ['PATH']}"


SNIPPETS = [Snippet(language, client, int(answer), code) for language, client, answer, code in _BLOCK.findall(_PAGE)]


def test_every_snippet_says_what_it_runs_with_and_what_it_answers() -> None:
    assert len(SNIPPETS) == len(re.findall(r"^```\w", _PAGE, re.MULTILINE)) >= 8


@pytest.mark.parametrize("snippet", SNIPPETS, ids=str)
def test_a_snippet_prints_the_right_digit(digits: RunningGateway, tmp_path: Path, snippet: Snippet) -> None:
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    arguments = [_with_ports_of(digits, argument) for argument in snippet.arguments()]
    done = subprocess.run(
        arguments,
        cwd=tmp_path,
        env={**os.environ, "PATH": snippet.path(), "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert _digit(done.stdout) == snippet.answer, done.stdout + done.stderr


def _with_ports_of(gateway: RunningGateway, text: str) -> str:
    return text.replace("localhost:8000", gateway.url.removeprefix("http://")).replace("localhost:8001", gateway.grpc)


def _digit(output: str) -> int:
    """The digit that a snippet has printed: as it is, or as probabilities in V2's or TF Serving's form."""
    said = json.loads(output.splitlines()[-1])  # mlserver logs on stdout
    if isinstance(said, int):
        return said
    [row] = [said["outputs"][0]["data"]] if "outputs" in said else said["predictions"]
    assert len(row) == 10, said
    return int(np.argmax(row))
