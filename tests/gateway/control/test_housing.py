"""Which processes a deployment's memory is of."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from adapters.base import Endpoint
from gateway.control.housing import NOWHERE, housing
from gateway.control.status import deployments
from gateway.lifecycle import Record
from gateway.types import Deployment, State
from tests.gateway.fakes import SIGNATURE
from tests.gateway.plane import Plane

SERVER = """
import subprocess, sys
holding = "held = bytearray(b'x' * 2**25); print(flush=True); input()"
children = [
    subprocess.Popen([sys.executable, "-c", holding], stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(2)
]
for each in children:
    each.stdout.readline()
print(*(each.pid for each in children), flush=True)
input()
"""

HELD = 2**25
"""Bytes that each child holds: more than all else of it, and touched when it says that it is there."""


def at(backend: str, pid: int | None, **remote: str) -> Endpoint:
    return Endpoint(backend, "there", SIGNATURE, "fake 1", pid, remote)


@contextmanager
def server() -> Iterator[tuple[int, list[int]]]:
    """A process with two children: its pid, and theirs."""
    process = subprocess.Popen([sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdin
    children = [int(each) for each in process.stdout.readline().split()]
    try:
        yield process.pid, children
    finally:
        for child in children:
            psutil.Process(child).kill()
        process.communicate("\n", timeout=20)


def test_a_worker_is_alone_in_its_process_and_needs_no_server() -> None:
    with server() as (_, (worker, _)):
        found = housing(at("onnxruntime-ort", worker))
        assert found.rss_bytes
        assert found.rss_bytes > 2**20
        assert (found.server_rss_bytes, found.shared) == (None, 0)


def test_tf_serving_is_one_process_that_all_its_models_share() -> None:
    with server() as (process, _):
        found = housing(at("tfserving", process))
        assert found.rss_bytes
        assert (found.server_rss_bytes, found.shared) == (None, process)


def test_torchserve_is_the_models_workers_and_the_server_that_they_share() -> None:
    with server() as (java, workers):
        alone = housing(at("torchserve", workers[0], pids=f"{workers[0]}"))
        both = housing(at("torchserve", workers[0], pids=" ".join(map(str, workers))))
        assert alone.rss_bytes
        assert both.rss_bytes
        assert both.rss_bytes > alone.rss_bytes + HELD > 2 * HELD
        assert both.shared == java
        assert both.server_rss_bytes
        assert both.server_rss_bytes < HELD


def test_what_is_elsewhere_or_gone_has_no_memory_that_could_be_told() -> None:
    assert housing(at("tfserving", None)) == NOWHERE
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait(20)
    assert housing(at("onnxruntime", gone.pid)).rss_bytes is None
    assert housing(at("torchserve", gone.pid, pids=str(gone.pid))).rss_bytes is None


def test_a_status_says_how_many_deployments_share_a_server() -> None:
    with server() as (process, _):
        records = [
            Record(Deployment("m", 1, "tfserving"), State.READY, endpoint=at("tfserving", process)),
            Record(Deployment("m", 2, "tfserving"), State.READY, endpoint=at("tfserving", process)),
            Record(Deployment("m", 1, "onnxruntime"), State.READY, endpoint=at("onnxruntime", process)),
            Record(Deployment("m", 3, "tfserving"), State.FAILED, "broken"),
        ]
        assert [each.sharing for each in deployments(records)] == [2, 2, 1, 1]


async def test_a_status_says_how_long_loading_took_and_how_large_the_artifact_is(tmp_path: Path) -> None:
    plane = Plane(tmp_path)
    plane.publish("m/1", "twelve bytes")
    async with plane.running():
        await plane.reaches(v1="READY")
        (found,) = deployments(plane.control.records)
        assert found.artifact_bytes == 12
        assert found.load_s is not None
        assert 0 <= found.load_s < 60
        plane.publish("m/1", "a new content")
        await plane.looked()
        (found,) = deployments(plane.control.records)
        assert found.artifact_bytes == 13
