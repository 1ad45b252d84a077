"""Child processes: their last words are kept, they are stopped for sure, and none survives its parent."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

import psutil
import pytest

from adapters import tether
from adapters.process import Child, free_port
from adapters.spawned import Spawned
from tests.waiting import Started, gone, until

Start: TypeAlias = Callable[..., Awaitable[Child]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    started: list[Child] = []

    async def start(code: str, **options: object) -> Child:
        child = await Child.start([sys.executable, "-c", code], name="child", **options)  # type: ignore[arg-type]
        started.append(child)
        return child

    yield start
    for child in started:
        await child.stop(0)


async def test_lines_go_in_and_come_out(start: Start) -> None:
    child = await start("import sys\nfor line in sys.stdin: print(line.strip()[::-1], flush=True)")
    for word in (b"torii", b"gate"):
        await child.send_line(word)
        assert await child.read_line() == word[::-1]
    assert child.alive
    await child.stop(5)
    assert not child.alive
    assert await child.read_line() == b""


async def test_a_child_inherits_only_the_variables_that_are_named(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KNOWN", "1")
    monkeypatch.setenv("SECRET", "2")
    show = "import os; print(sorted({'KNOWN', 'SECRET', 'GIVEN'} & set(os.environ)), flush=True)"
    child = await start(show, inherited=["KNOWN", "PATH"], env={"GIVEN": "3"})
    assert await child.read_line() == b"['GIVEN', 'KNOWN']"
    await child.wait()
    assert child.exit_code == 0
    assert await (await start(show)).read_line() == b"['KNOWN', 'SECRET']"


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("", "exit code 0"),
        ("import sys; sys.exit(3)", "exit code 3"),
        ("import sys; sys.exit('out of cheese')", "exit code 1; last lines of stderr: out of cheese"),
        ("import os; os.kill(os.getpid(), 11)", "killed by SIGSEGV"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGRTMIN + 2)", "killed by signal 36"),
        (
            "import sys\nfor n in range(50): print('line', n, file=sys.stderr)",
            "exit code 0; last lines of stderr: line 46 | line 47 | line 48 | line 49",
        ),
        (r"import sys; sys.stderr.buffer.write(b'\xff\n\n  \n')", "exit code 0; last lines of stderr: �"),
    ],
)
async def test_how_a_child_ended_is_said_with_its_last_words(start: Start, code: str, says: str) -> None:
    assert await (await start(code)).wait() == says


async def test_a_child_has_the_descriptors_that_it_is_given_and_no_others(start: Start) -> None:
    ours, theirs = socket.socketpair()
    other = socket.socket()
    with ours, theirs, other:
        code = f"import os; os.write({theirs.fileno()}, b'here'); os.fstat({other.fileno()})"
        child = await start(code, pass_fds=(theirs.fileno(),))
        assert "Bad file descriptor" in await child.wait()
        assert ours.recv(9) == b"here"


async def test_a_line_without_end_neither_blocks_the_child_nor_fills_the_memory(start: Start) -> None:
    code = "import sys\nfor _ in range(9): sys.stderr.write('x' * 2**20)\nsys.stderr.write('\\nthe end\\n')"
    child = await start(code)
    says = await asyncio.wait_for(child.wait(), 20)
    assert says.endswith("the end")
    assert len(says) < 2000


async def test_a_talkative_child_is_not_stopped_by_a_full_pipe(start: Start) -> None:
    child = await start("for n in range(30000): print('a line of no interest', n)")
    await asyncio.wait_for(asyncio.gather(child.discard_stdout(), child.wait()), 20)


async def test_a_child_that_ends_on_request_is_not_killed(start: Start) -> None:
    code = (
        "import signal, sys\nsignal.signal(15, lambda *_: sys.exit('closed in order'))\n"
        "print('up', flush=True)\nsignal.pause()"
    )
    child = await start(code)
    assert await child.read_line() == b"up"
    await child.stop(20)
    assert await child.wait() == "exit code 1; last lines of stderr: closed in order"


async def test_a_child_that_ignores_sigterm_is_killed_after_its_grace(start: Start) -> None:
    code = "import signal\nsignal.signal(15, signal.SIG_IGN)\nprint('up', flush=True)\nwhile True: signal.pause()"
    child = await start(code)
    assert await child.read_line() == b"up"
    before_s = time.monotonic()
    await child.stop(0.1)
    assert 0.1 <= time.monotonic() - before_s < 10
    assert await child.wait() == "killed by SIGKILL"


async def test_a_child_that_is_stopped_takes_what_it_started_with_it(start: Start) -> None:
    code = (
        "import subprocess, sys\n"
        "code = 'import signal; signal.signal(15, signal.SIG_IGN); print(1, flush=True); signal.pause()'\n"
        "below = subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE)\n"
        "below.stdout.readline(); print(below.pid, flush=True); below.wait()"
    )
    child = await start(code)
    below = int(await child.read_line())
    await child.stop(0.2)
    await until(lambda: gone(below))


async def test_a_stop_that_is_cancelled_has_still_killed_the_child(start: Start) -> None:
    code = "import signal\nsignal.signal(15, signal.SIG_IGN)\nprint('up', flush=True)\nwhile True: signal.pause()"
    child = await start(code)
    await child.read_line()
    stopping = asyncio.create_task(child.stop(600))
    await asyncio.sleep(0)
    stopping.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await stopping
    await until(lambda: not child.alive)


async def test_what_is_sent_to_a_child_that_died_raises_nothing(start: Start) -> None:
    child = await start("")
    await child.wait()
    for _ in range(3):
        await child.send_line(b"x" * 2**18)
    assert await child.read_line() == b""


async def test_a_child_has_the_parent_s_environment_and_its_own(start: Start, tmp_path: Path) -> None:
    code = "import os; print(os.environ['PATH'], os.environ['ONE'], os.getcwd())"
    child = await start(code, env={"ONE": "1"}, cwd=tmp_path)
    assert (await child.read_line()).decode() == f"{os.environ['PATH']} 1 {tmp_path}"


async def test_ctrl_c_in_the_parent_s_terminal_does_not_reach_the_child(start: Start) -> None:
    child = await start("import os; print(os.getsid(0) == os.getpid() != int(input()), flush=True)")
    await child.send_line(str(os.getsid(0)).encode())
    assert await child.read_line() == b"True"


PARENT = """
import asyncio, sys
from adapters.process import Child
async def main():
    code = "import time; print('up', flush=True); time.sleep(600)"
    child = await Child.start([sys.executable, "-c", code], name="child")
    await child.read_line()
    print(child.pid, flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's tie to the parent is Linux's")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_a_child_ends_with_its_parent_however_that_ended(number: signal.Signals) -> None:
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", PARENT, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    try:
        child = int(await parent.stdout.readline())
    finally:
        parent.send_signal(number)
        await parent.wait()
    await until(lambda: gone(child))


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's tie to the parent is Linux's")
def test_a_command_whose_parent_died_before_it_was_tied_does_not_run() -> None:
    stranger = str(psutil.Process().parent().pid)
    command = [sys.executable, tether.__file__, stranger, sys.executable, "-c", "print('ran')"]
    ended = subprocess.run(command, capture_output=True, check=False)
    assert (ended.returncode, ended.stdout) == (1, b"")


async def test_a_start_that_is_cancelled_leaves_no_process(start: Start, started: Started) -> None:
    starting = asyncio.create_task(start("import time; time.sleep(600)"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    starting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await (await starting).stop(0)
    await until(lambda: not started())


def test_a_free_port_can_be_listened_on() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", free_port()))


async def test_a_loop_that_closes_by_number_shares_no_descriptor_with_a_file_that_closes_it_again() -> None:
    process = await Spawned.start([sys.executable, "-c", "input()"], os.environ, None, ())
    by_number = "uvloop" in type(asyncio.get_running_loop()).__module__
    pipes = (process._popen.stdin, process._popen.stdout, process._popen.stderr)
    assert [pipe.closed for pipe in pipes if pipe] == [by_number] * 3
    process.stdin.close()
    await process.wait()
