"""Torii's own bundles, repository and server, and a device: what is published and promoted comes, and goes."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from gateway.cli import app
from tests.e2e.gateway import free_port
from tests.waiting import until
from torii_edge import Device, EdgeModel, Limits, Outcome
from torii_edge.runtimes import installed_runtimes

ROOT = Path(__file__).resolve().parents[2]
SECRETS = {"TORII_EDGE_OFFLINE_PASSPHRASE": "kept in a drawer", "TORII_EDGE_ONLINE_PASSPHRASE": "kept on the server"}


def torii(*arguments: str | Path) -> None:
    ended = CliRunner().invoke(app, [str(each) for each in arguments], env=SECRETS)
    assert ended.exit_code == 0, f"{arguments}: {ended.output}"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """An edge folder with digits 1 and 2, for onnxruntime, and its server's URL; nothing is promoted."""
    for version in ("digits/1", "digits/2"):
        chosen = ("--target", "linux-arm64", "--backend", "onnxruntime", "--repository", ROOT / "model_repo")
        torii("bundle", version, *chosen, "--output", tmp_path)
    torii("edge", "init", tmp_path / "edge")
    torii("edge", "publish", tmp_path / "edge", *sorted(tmp_path.glob("*.zip")))
    port = str(free_port())
    with subprocess.Popen(
        [sys.executable, "-m", "gateway", "edge", "serve", str(tmp_path / "edge"), "--port", port],
        cwd=ROOT,
        env={**os.environ, **SECRETS},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as server:
        try:
            assert server.stdout is not None
            assert b"serving" in server.stdout.readline()
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.communicate(timeout=30)


@pytest.mark.skipif("onnxruntime" not in installed_runtimes(), reason="onnxruntime is not installed")
def test_a_device_follows_what_torii_publishes_promotes_and_takes_back(served: str, tmp_path: Path) -> None:
    model = EdgeModel(
        served,
        "digits",
        tmp_path / "device",
        trusted_root=tmp_path / "edge/metadata/1.root.json",
        device=Device("linux", "arm64", 1024),
        limits=Limits(self_check_s=100),
    )
    assert model.update().version is None
    with np.load(ROOT / "model_repo/digits/2/golden.npz") as golden:
        image, expected = golden["inputs/image"], golden["outputs/probabilities"]
    promote, rollback = ("promote", "--at-once"), ("rollback",)
    for order, version, outcome in (
        ((*promote, "digits/1"), 1, Outcome.INSTALLED),
        ((*promote, "digits/2"), 2, Outcome.INSTALLED),
        ((*rollback, "digits"), 1, Outcome.ROLLED_BACK),
    ):
        torii("edge", order[0], tmp_path / "edge", *order[1:])
        assert _brought(model, version) is outcome
        assert np.allclose(model.run({"image": image})["probabilities"], expected, atol=1e-4) is (version == 2)
    assert model.status()["reports_waiting"] == 0


def _brought(model: EdgeModel, version: int) -> Outcome:
    """What the update came to that brought a version: the server looks at its folder now and then."""
    outcomes: list[Outcome] = []

    def there() -> bool:
        outcomes.append(model.update().outcome)
        return model.version == version

    asyncio.run(until(there, within_s=60))
    return outcomes[-1]
