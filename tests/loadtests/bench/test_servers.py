from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from loadtests.bench.servers import Place, running
from tests.waiting import gone, until

CHILD = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(600)'])"

BENCHMARK = """
import sys, time
from pathlib import Path
from loadtests.bench.servers import Place, running
argv = [sys.executable, "-c", "import time; time.sleep(600)"]
with running("server", argv, Place(Path(sys.argv[1]), int(sys.argv[2])), lambda: True) as server:
    print(server.pid, flush=True)
    time.sleep(600)
"""


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
    argv = [sys.executable, "-c", "import time; time.sleep(600)"]
    with running("server", argv, place, lambda: True, {"TORII_POLL_S": "0.1"}) as process:
        variables = psutil.Process(process.pid).environ()

    assert "TORII_MAX_BODY_BYTES" not in variables
    assert variables["TORII_POLL_S"] == "0.1"


async def test_a_benchmark_that_is_killed_leaves_no_server_behind(place: Place) -> None:
    with subprocess.Popen(  # noqa: ASYNC220  # nothing else runs in this loop
        [sys.executable, "-c", BENCHMARK, str(place.folder), str(place.core)], stdout=subprocess.PIPE
    ) as benchmark:
        assert benchmark.stdout is not None
        server = int(benchmark.stdout.readline())
        assert not gone(server)
        benchmark.kill()

    await until(lambda: gone(server))
