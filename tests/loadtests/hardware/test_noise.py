"""What others take of the machine is told apart from what is ours, whichever processes come and go meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from loadtests.hardware.noise import OTHERS_LIMIT, STEAL_LIMIT, Key, Used, Watch, marks, tree, used_between
from loadtests.results.schema import Noise
from tests.waiting import until

BURN = "import sys, time\nwhile time.process_time() < {seconds}: pass\n"


@pytest.mark.parametrize(
    ("noise", "says"),
    [
        (Noise(0.0, 0.0, 9.0), ()),
        (Noise(None, None, None), ()),
        (Noise(STEAL_LIMIT, OTHERS_LIMIT, 0.0), ()),
        (Noise(0.23, 0.01, 0.0), ("busy machine: 23% steal",)),
        (Noise(None, 0.5, None), ("busy machine: 50% other processes",)),
        (Noise(0.03, 0.06, 0.0), ("busy machine: 3% steal", "busy machine: 6% other processes")),
    ],
)
def test_a_busy_machine_is_marked_with_what_was_taken(noise: Noise, says: tuple[str, ...]) -> None:
    assert marks(noise) == says


GATEWAY, WORKER, FRONTEND, STRANGER = (10, 1.0), (11, 2.0), (12, 3.0), (99, 1.0)
BEGUN = {GATEWAY: Used(1, 5.0), WORKER: Used(10, 7.0)}


@pytest.mark.parametrize(
    ("now", "used_s"),
    [
        ({GATEWAY: Used(1, 6.0), WORKER: Used(10, 9.0)}, 3.0),
        ({GATEWAY: Used(1, 6.0), WORKER: Used(10, 9.0), FRONTEND: Used(10, 4.0)}, 7.0),
        ({GATEWAY: Used(1, 6.0, 9.0)}, 3.0),
        ({GATEWAY: Used(1, 6.0, 13.0)}, 7.0),
        ({GATEWAY: Used(1, 6.0)}, 0.0),
        ({WORKER: Used(1, 9.0)}, 2.0),
        ({(11, 50.0): Used(10, 1.0), GATEWAY: Used(1, 5.0, 8.0)}, 2.0),
        ({}, 0.0),
    ],
    ids=[
        "both went on",
        "another one came",
        "the worker ended, and was waited for",
        "the worker and one that came meanwhile ended",
        "the worker ended unseen",
        "the gateway ended",
        "another worker has the ended one's id",
        "all ended",
    ],
)
def test_what_a_tree_used_counts_what_came_and_went(now: dict[Key, Used], used_s: float) -> None:
    assert used_between(BEGUN, now) == used_s


def test_a_tree_is_what_descends_from_its_roots() -> None:
    grandchild = (13, 4.0)
    processes = {
        **BEGUN, grandchild: Used(11, 1.0), STRANGER: Used(1, 1.0), (1, 0.0): Used(0, 1.0), (14, 5.0): Used(99, 1.0)
    }  # fmt: skip
    assert tree(processes, {GATEWAY}).keys() == {GATEWAY, WORKER, grandchild}
    assert tree(processes, {GATEWAY, (98, 1.0)}).keys() == {GATEWAY, WORKER, grandchild}
    assert tree(processes, set()) == {}


@pytest.fixture
def stranger(tmp_path: Path) -> Iterator[psutil.Process]:
    """A process that is nobody's child here, and burns 0.45 s of CPU once it is told to."""
    program = "import sys; sys.stdin.readline()\n" + BURN.format(seconds=0.45) + "sys.stdin.readline()"
    fifo, named = tmp_path / "go", tmp_path / "pid"
    os.mkfifo(fifo)
    begin = f'"{sys.executable}" -S -c "$1" <"$2" >/dev/null 2>&1 & echo $! >"$3"'
    subprocess.run(["sh", "-c", begin, "sh", program, fifo, named], check=True)
    process = psutil.Process(int(named.read_text()))
    with fifo.open("w") as go:
        process.go = go
        yield process
    process.wait(10)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells every core's time by kinds")
async def test_a_stranger_s_cpu_is_others_and_its_own_watcher_s_is_not(stranger: psutil.Process) -> None:
    theirs, ours, elsewhere = Watch([]), Watch([stranger.pid]), Watch(None)
    began = _all_s()
    stranger.go.write("now\n")
    stranger.go.flush()
    await until(lambda: sum(stranger.cpu_times()[:2]) >= 0.4)
    all_s = _all_s() - began
    seen, left = theirs.read().others, ours.read().others
    assert elsewhere.read().others is None
    assert seen is not None
    assert left is not None
    # Whatever else the machine does is in both.
    assert (seen - left) * all_s == pytest.approx(0.42, abs=0.15)


def test_a_child_s_cpu_is_no_noise_though_it_came_and_went() -> None:
    watch, bare = Watch([]), Watch([])
    bare._begun = {}
    subprocess.run([sys.executable, "-S", "-c", BURN.format(seconds=0.4)], check=True)
    now = watch._ours_now()
    assert used_between(watch._begun, now) >= 0.4


def test_shares_are_of_all_cores_and_never_negative() -> None:
    noise = Watch([os.getpid(), 2**22 + 1]).read()
    for share in (noise.steal, noise.others):
        assert share is None or 0 <= share <= 1
    assert noise.load_before is None or noise.load_before >= 0


def _all_s() -> float:
    times = psutil.cpu_times()
    return float(sum(times[:8]))
