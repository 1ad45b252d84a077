from __future__ import annotations

import sys
from pathlib import Path

import pytest

from loadtests.crosscheck.command import Command, run
from loadtests.crosscheck.measured import ToolFailed
from tests.waiting import gone

BUSY = "import time\nend = time.monotonic() + 1\nwhile time.monotonic() < end: pass"


def python(program: str, told: str = "") -> Command:
    return Command([sys.executable, "-c", program], told, {"A_TOOLS": "variable"})


def test_a_tool_is_told_by_stdin_and_environment_and_its_output_is_kept(tmp_path: Path) -> None:
    ended = run(python("import os; print(input(), os.environ['A_TOOLS'], os.getcwd())", "hello\n"), tmp_path, 20)

    assert ended.output.split() == ["hello", "variable", str(tmp_path)]


def test_a_tool_is_ended_when_its_time_is_over(tmp_path: Path) -> None:
    program = "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(600)"
    with pytest.raises(ToolFailed, match="did not end within 1 s"):
        run(python(program), tmp_path, 1)

    assert gone(int((tmp_path / "pid").read_text()))


def test_a_tool_that_fails_is_told_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(ToolFailed, match=r"ended with 1: .*no such model"):
        run(python("raise SystemExit('no such model')"), tmp_path, 20)


def test_a_tool_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ToolFailed, match="no-such-tool cannot be run"):
        run(Command(["no-such-tool"]), tmp_path, 20)


def test_a_tools_cpu_is_seen(tmp_path: Path) -> None:
    idle = run(python("import time; time.sleep(1)"), tmp_path, 20).cpu
    busy = run(python(BUSY), tmp_path, 20).cpu

    assert idle < busy
