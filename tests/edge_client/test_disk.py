"""A disk that is full: the old model stays, and nothing half-written does."""

from __future__ import annotations

import errno
import os
import resource
import shutil
from collections import namedtuple
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.edge_client.conftest import factor, make_model
from tests.edge_client.repository import EdgeServer, make_bundle
from torii_edge import EdgeModel, Outcome


def _left_over(folder: Path) -> list[Path]:
    return [*(folder / "incoming").iterdir(), *(folder / "releases").glob(".*"), *folder.glob(".*")]


def test_the_disk_may_be_full_from_any_write_on(model: EdgeModel, server: EdgeServer, tmp_path: Path) -> None:
    server.offered = server.repository.offer(2)
    before = tmp_path / "before"
    shutil.copytree(tmp_path / "device", before, symlinks=True)
    told = set()
    for number in count(1):
        shutil.rmtree(tmp_path / "device")
        shutil.copytree(before, tmp_path / "device", symlinks=True)
        device = make_model(server, tmp_path / "device")
        with pytest.MonkeyPatch.context() as patching:
            writes = _full_from(number, patching)
            update = device.update()
            if next(writes) <= number:
                break
        told.add(update.outcome)
        if update.outcome is Outcome.NO_SPACE:
            assert (update.version, factor(device)) == (1, 1.5)
            assert not _left_over(tmp_path / "device")
        assert device.update().outcome in {Outcome.INSTALLED, Outcome.UP_TO_DATE}
        assert factor(device) == 2.5
    assert told == {Outcome.NO_SPACE, Outcome.INSTALLED}
    assert number > 25, "the writes were counted"


def _full_from(number: int, patching: pytest.MonkeyPatch) -> count[int]:
    writes = count(1)

    def full(act: Callable[..., Any], grows: Callable[..., bool]) -> Callable[..., Any]:
        def acts(*arguments: Any, **options: Any) -> Any:
            if grows(*arguments) and next(writes) >= number:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return act(*arguments, **options)

        return acts

    patching.setattr(os, "write", full(os.write, lambda *_: True))
    patching.setattr(os, "mkdir", full(os.mkdir, lambda path, *_: not Path(path).exists()))
    makes = full(os.open, lambda path, flags, *_: bool(flags & os.O_CREAT) and not Path(path).exists())
    patching.setattr(os, "open", makes)
    return writes


def test_a_bundle_for_which_there_is_no_room_is_not_begun(
    model: EdgeModel, server: EdgeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.offered = server.repository.offer(2)
    usage = namedtuple("usage", "total used free")  # as shutil has it
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1 << 40, 1 << 40, 1000))
    server.asked.clear()
    update = model.update()
    assert (update.outcome, factor(model)) == (Outcome.NO_SPACE, 1.5)
    assert not [each for each in server.paths() if each.startswith("targets/")]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_limit_on_file_sizes_is_like_a_full_disk(model: EdgeModel, server: EdgeServer, tmp_path: Path) -> None:
    server.repository.publish(3, make_bundle(3, b"3.5", padding=b"p" * 500_000))
    server.offered = server.repository.offer(3)
    child = os.fork()
    if child == 0:
        status = 99
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
            update = model.update()
            status = 0 if (update.outcome, update.version) == (Outcome.NO_SPACE, 1) else 1
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert not _left_over(tmp_path / "device")
    assert (model.update().outcome, factor(model)) == (Outcome.INSTALLED, 3.5)
