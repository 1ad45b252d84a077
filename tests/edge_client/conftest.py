"""What tests of the client for devices share: a repository with two versions, its server, and a device."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.edge_client.repository import EdgeServer, Repository, make_bundle
from torii_edge import Device, EdgeModel, Limits
from torii_edge.manifest import Manifest
from torii_edge.self_check import check_here


class Numbers:
    """The runtime of these tests: y = x * the number in the model file."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self._factor = np.float32(path.read_text())

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return {"y": inputs["x"] * self._factor}


RUNTIMES = {"numbers": Numbers}
LIMITS = Limits(silence_s=5, patience_s=5, self_check_s=5)


def make_model(server: EdgeServer, folder: Path, **settings: Any) -> EdgeModel:
    """A device's model, whose self-check is quick and in this process."""
    root = folder.parent / "trusted-root.json"
    if not root.exists():
        root.write_bytes(server.repository.trusted_root)
    settings = {
        "trusted_root": root,
        "runtimes": RUNTIMES,
        "limits": LIMITS,
        "refresh_s": 0.0,
        "check": lambda unpacked, _: check_here(unpacked, RUNTIMES),
        "device": Device("linux", "arm64", 512, "2.1"),
        **settings,
    }
    return EdgeModel(server.url, "digits", folder, **settings)


def factor(model: EdgeModel) -> float:
    """What the model in use multiplies by: 1.5 is version 1, 2.5 is version 2."""
    return float(model.run({"x": np.ones((1, 3), "f4")})["y"][0, 0])


@pytest.fixture(autouse=True)
def hasty_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody pulls the plug in these tests: what is to be on the disk may stay on its way there."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def repository() -> Repository:
    made = Repository()
    for version, weights in ((1, b"1.5"), (2, b"2.5")):
        made.publish(version, make_bundle(version, weights))
    return made


@pytest.fixture
def server(repository: Repository) -> Iterator[EdgeServer]:
    with EdgeServer.running(repository) as running:
        running.offered = repository.offer(1)
        yield running


@pytest.fixture
def device(server: EdgeServer, tmp_path: Path) -> Callable[..., EdgeModel]:
    """Makes the device's model, as often as it is started."""
    return lambda **settings: make_model(server, tmp_path / "device", **settings)


@pytest.fixture
def model(device: Callable[..., EdgeModel]) -> EdgeModel:
    """A device that has version 1."""
    made = device()
    update = made.update()
    assert (update.outcome.value, update.version, update.detail) == ("installed", 1, "")
    return made
