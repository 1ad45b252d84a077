from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from loadtests.bench import processes
from loadtests.bench.processes import Place, Server, Watch, awake, running
from tests.waiting import gone, until

SLEEP = "import time; time.sleep(600)"
CHILD = f"import subprocess, sys; subprocess.run([sys.executable, '-c', '{SLEEP}'])"

POLITE = """
import pathlib, signal, sys, time
def stop(*_):
    pathlib.Path("stopped").touch()
    sys.exit()
signal.signal(signal.SIGTERM, stop)
pathlib.Path("ready").touch()
time.sleep(600)
"""

BENCHMARK = f"""
import sys, time
from pathlib import Path
from loadtests.bench.processes import Place, Server, running
place = Place(Path(sys.argv[1]), int(sys.argv[2]))
argv = [sys.executable, "-c", {POLITE!r}]
with running("server", argv, place, (place.folder / "ready").exists) as server:
    if sys.argv[3] == "paused":
        Server("server", server).pause()
    print(server.pid, flush=True)
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Children that know nothing of their parent's end are killed soon."""
    monkeypatch.setattr(processes, "_CHILDREN_S", 0.3)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, min(os.sched_getaffinity(0)))


async def test_a_server_is_stopped_with_its_children(place: Place) -> None:
    with running("parent", [sys.executable, "-c", CHILD], place, lambda: True) as process:
        (child,) = await until(process.children)
        assert child.cpu_affinity() == [place.core]

    assert gone(process.pid)
    assert gone(child.pid)


def test_a_server_that_does_not_start_is_told_with_its_last_words(place: Place) -> None:
    argv = [sys.executable, "-c", "raise SystemExit('no such ' + 'weights')"]
    with pytest.raises(SystemExit, match="no such weights"), running("broken", argv, place, lambda: False):
        pass


def test_torii_settings_of_the_environment_do_not_reach_servers(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORII_MAX_BODY_BYTES", "1")
    argv = [sys.executable, "-c", SLEEP]
    with running("server", argv, place, lambda: True, {"TORII_POLL_S": "0.1"}) as process:
        variables = psutil.Process(process.pid).environ()

    assert "TORII_MAX_BODY_BYTES" not in variables
    assert variables["TORII_POLL_S"] == "0.1"


async def test_a_server_that_is_paused_stands_still_with_its_children(place: Place) -> None:
    with running("parent", [sys.executable, "-c", CHILD], place, lambda: True) as process:
        (child,) = await until(lambda: [each for each in process.children() if each.cmdline()[-1] == SLEEP])
        server = Server("parent", process)
        server.pause()
        await until(lambda: {each.status() for each in (process, child)} == {psutil.STATUS_STOPPED})
        with awake([server]):
            assert psutil.STATUS_STOPPED not in {each.status() for each in (process, child)}
        await until(lambda: {each.status() for each in (process, child)} == {psutil.STATUS_STOPPED})

    assert gone(process.pid)
    assert gone(child.pid)


async def test_a_server_that_is_paused_is_asked_to_stop_before_it_is_made_to(place: Place) -> None:
    with running("server", [sys.executable, "-c", POLITE], place, (place.folder / "ready").exists) as process:
        Server("server", process).pause()

    assert (place.folder / "stopped").exists()


def test_what_others_take_of_the_core_is_told_from_what_the_server_takes(place: Place) -> None:
    spin = [sys.executable, "-c", "while True: pass"]
    with (
        running("server", [sys.executable, "-c", SLEEP], place, lambda: True) as process,
        running("other", spin, place, lambda: True),
    ):
        watch = Watch([Server("server", process)])
        time.sleep(0.3)
        own_s, others_cpu = watch.read()

    assert own_s < 0.1
    assert others_cpu > 0.5


def test_idle_cpu_is_that_of_the_children_too(place: Place) -> None:
    busy = CHILD.replace(SLEEP, "while True: pass")
    with running("parent", [sys.executable, "-c", busy], place, lambda: True) as process:
        assert Server("parent", process).idle_cpu(0.3) > 0.05


@pytest.mark.parametrize("state", ["awake", "paused"])
async def test_a_benchmark_that_is_killed_leaves_no_server_behind(place: Place, state: str) -> None:
    with subprocess.Popen(  # noqa: ASYNC220  # nothing else runs in this loop
        [sys.executable, "-c", BENCHMARK, str(place.folder), str(place.core), state], stdout=subprocess.PIPE
    ) as benchmark:
        assert benchmark.stdout is not None
        server = int(benchmark.stdout.readline())
        assert not gone(server)
        benchmark.kill()

    await until(lambda: gone(server))
