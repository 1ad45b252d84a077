"""The client is killed at each of its writes, one after the other, and starts with a working model every time."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import bsdiff4
import pytest

from tests.edge_client.conftest import factor, make_model
from tests.edge_client.repository import EdgeServer, make_bundle
from torii_edge import EdgeModel, Outcome

_CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.symlink", "os.link", "os.truncate"}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT

Scenario = Callable[[EdgeServer, EdgeModel], None]


def first_installation(server: EdgeServer, _: EdgeModel) -> None:
    server.offered = server.repository.offer(2)


def next_version(server: EdgeServer, model: EdgeModel) -> None:
    model.update()
    server.offered = server.repository.offer(2)


def next_version_by_delta(server: EdgeServer, model: EdgeModel) -> None:
    next_version(server, model)
    repository = server.repository
    path, patch = "digits/2/delta.bsdiff", bsdiff4.diff(*(repository.bundles[version][1] for version in (1, 2)))
    repository.add_target(path, patch, {"from_sha256": repository.offer(1)["sha256"], "to": repository.bundles[2][0]})
    server.offered = repository.offer(2, delta={"target": path, "sha256": "", "length": len(patch)})


def version_taken_back(server: EdgeServer, model: EdgeModel) -> None:
    """What is left is version 3 as the one before, and the number 2 as what is offered."""
    repository = server.repository
    model.update()
    for version, weights in ((3, b"1.5"), (2, b"2.5")):
        repository.publish(version, make_bundle(version, weights))
        server.offered = repository.offer(version)
        if version == 3:
            model.update()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(
    ("scenario", "step"),
    [(next_version, 1), (first_installation, 5), (next_version_by_delta, 5), (version_taken_back, 5)],
)
def test_a_client_killed_at_any_write_starts_with_a_working_model_and_updates(
    server: EdgeServer, tmp_path: Path, scenario: Scenario, step: int
) -> None:
    """At each write of an update; of its variants at every fifth, for time's sake (a step of 1 takes half a minute)."""
    before = tmp_path / "before"
    scenario(server, make_model(server, before))
    installed = (before / "current.json").exists()
    there = tmp_path / "device"
    for number in count(1, step):
        shutil.rmtree(there, ignore_errors=True)
        if before.exists():
            shutil.copytree(before, there, symlinks=True)
        server.reports.clear()
        if not _killed_at(number, lambda: make_model(server, there).update()):
            break
        _starts_and_updates(server, there, installed)
    assert number > 100, "the writes were counted"
    assert factor(make_model(server, there)) == 2.5


def _starts_and_updates(server: EdgeServer, folder: Path, installed: bool) -> None:
    started = make_model(server, folder)
    if installed or started.version is not None:
        assert factor(started) == (2.5 if started.version == 2 else 1.5)
    assert started.update().outcome in {Outcome.INSTALLED, Outcome.ROLLED_BACK, Outcome.UP_TO_DATE}
    assert (started.version, factor(started)) == (2, 2.5)
    assert {"installed", "self_check", "latency"} <= {each["kind"] for each in server.reports if each["version"] == 2}
    assert not list((folder / "incoming").iterdir())
    assert not list((folder / "releases").glob(".*"))
    assert not list((folder / "metadata").glob("tmp*"))


def _killed_at(number: int, act: Callable[[], Any]) -> bool:
    """Act in a child that is killed at its nth write, of which half is done; whether it came so far."""
    child = os.fork()
    if child == 0:
        try:
            gc.disable()  # it would copy what the parent has
            _kill_at(number)
            act()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def _kill_at(number: int) -> None:
    writes = count(1)

    def one_more() -> bool:
        return next(writes) == number

    def end() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        opened = event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITING
        if (opened or event in _CHANGES) and one_more():
            end()

    def write(descriptor: int, data: Any, write: Callable[[int, Any], int] = os.write) -> int:
        if one_more():
            write(descriptor, bytes(data)[: len(data) // 2])
            end()
        return write(descriptor, data)

    def fsync(_: int) -> None:
        if one_more():
            end()

    os.write, os.fsync = write, fsync
    sys.addaudithook(audit)
