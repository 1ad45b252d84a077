from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
import pytest_asyncio

from adapters.base import Artifact, Endpoint
from adapters.errors import BackendDied, BackendUnavailable, LoadFailed
from adapters.process import Child, free_port
from adapters.tensors import DataType, Signature, TensorSpec
from adapters.tfserving.adapter import TfServingAdapter
from adapters.tfserving.client import TfServingClient
from adapters.tfserving.model_service import ModelService
from adapters.tfserving.versions import describe_embedded
from tests.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

Make = Callable[..., Artifact]
LIMIT_S = 30.0


class Deaths:
    """Remembers who died, and lets a test wait for it."""

    def __init__(self) -> None:
        self.told: asyncio.Queue[tuple[Endpoint, str]] = asyncio.Queue()

    def __call__(self, endpoint: Endpoint, reason: str) -> None:
        self.told.put_nowait((endpoint, reason))

    async def next(self) -> tuple[Endpoint, str]:
        return await asyncio.wait_for(self.told.get(), LIMIT_S)


@pytest.fixture(scope="module")
def deaths() -> Deaths:
    return Deaths()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tfs")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def adapter(folder: Path, deaths: Deaths) -> AsyncIterator[TfServingAdapter]:
    made = TfServingAdapter(folder, deaths)
    yield made
    await made.close()


@pytest.fixture
def corrupt(tmp_path: Path) -> Path:
    path = tmp_path / "corrupt"
    path.mkdir()
    (path / "saved_model.pb").write_bytes(b"\xff" * 100)
    return path


async def halves(endpoint: Endpoint) -> list[list[float]]:
    client = await TfServingClient.connect(endpoint)
    try:
        outputs = await client.infer({"x": np.array([[1], [2], [5]], np.float32)})
    finally:
        await client.aclose()
    result: list[list[float]] = outputs["y"].tolist()
    return result


RIGHT = [[2.5], [3.0], [4.5]]


async def test_a_saved_model_is_loaded_described_and_right(
    adapter: TfServingAdapter, artifact: Make, half_plus_two: Path
) -> None:
    assert adapter.missing() is None
    endpoint = await adapter.load(artifact(half_plus_two))
    assert endpoint.backend == "tfserving"
    assert endpoint.runtime == describe_embedded()
    assert endpoint.pid is not None
    assert endpoint.remote["version"] == "123"
    assert endpoint.remote["signature_name"] == "serving_default"
    assert endpoint.signature == Signature(
        (TensorSpec("x", DataType.FP32, (None, 1)),), (TensorSpec("y", DataType.FP32, (None, 1)),)
    )
    assert await halves(endpoint) == RIGHT
    await adapter.unload(endpoint)


async def test_nothing_listens_on_the_network(adapter: TfServingAdapter, artifact: Make, half_plus_two: Path) -> None:
    endpoint = await adapter.load(artifact(half_plus_two))
    assert endpoint.address.startswith("unix:")
    assert psutil.Process(endpoint.pid).net_connections("inet") == []
    await adapter.unload(endpoint)


async def test_a_second_model_comes_and_goes_while_the_first_answers(
    adapter: TfServingAdapter, artifact: Make, half_plus_two: Path
) -> None:
    first = await adapter.load(artifact(half_plus_two))
    second = await adapter.load(artifact(half_plus_two, version=124))
    assert second.pid == first.pid
    assert second.remote["model"] != first.remote["model"]
    assert await halves(second) == await halves(first) == RIGHT
    await adapter.unload(second)
    await adapter.unload(second)
    with pytest.raises(BackendUnavailable):
        await halves(second)
    assert await halves(first) == RIGHT
    await adapter.unload(first)


async def test_many_are_loaded_at_once(adapter: TfServingAdapter, artifact: Make, half_plus_two: Path) -> None:
    endpoints = await asyncio.gather(*(adapter.load(artifact(half_plus_two, version=each)) for each in range(1, 7)))
    assert [await halves(endpoint) for endpoint in endpoints] == [RIGHT] * 6
    await asyncio.gather(*map(adapter.unload, endpoints))


async def test_a_corrupt_model_fails_alone_and_says_why(
    adapter: TfServingAdapter, artifact: Make, half_plus_two: Path, corrupt: Path
) -> None:
    results = await asyncio.gather(
        adapter.load(artifact(corrupt)), adapter.load(artifact(half_plus_two)), return_exceptions=True
    )
    assert isinstance(results[0], LoadFailed)
    assert f"{corrupt}/saved_model.pb" in str(results[0])
    assert isinstance(results[1], Endpoint)
    assert await halves(results[1]) == RIGHT
    await adapter.unload(results[1])


async def test_a_folder_without_a_model_fails(adapter: TfServingAdapter, artifact: Make, tmp_path: Path) -> None:
    with pytest.raises(LoadFailed, match=str(tmp_path)):
        await adapter.load(artifact(tmp_path))


async def test_a_signature_can_be_asked_for(adapter: TfServingAdapter, artifact: Make, half_plus_two: Path) -> None:
    endpoint = await adapter.load(artifact(half_plus_two, signature_name="regress_x2_to_y3"))
    assert endpoint.remote["signature_name"] == "regress_x2_to_y3"
    assert [spec.name for spec in endpoint.signature.inputs] == ["inputs"]
    await adapter.unload(endpoint)
    with pytest.raises(LoadFailed, match="serving_default"):
        await adapter.load(artifact(half_plus_two, signature_name="nope"))
    with pytest.raises(LoadFailed, match="expected a text, got 3"):
        await adapter.load(artifact(half_plus_two, signature_name=3))


async def test_a_cancelled_load_leaves_nothing_behind(
    adapter: TfServingAdapter, artifact: Make, half_plus_two: Path, tmp_path: Path, folder: Path
) -> None:
    other = await adapter.load(artifact(half_plus_two))
    pipe = tmp_path / "saved_model.pb"
    os.mkfifo(pipe)  # opening it blocks the server's loader until someone opens the other end
    loading = asyncio.create_task(adapter.load(artifact(tmp_path, model="slow")))
    service = ModelService(other.address)
    (slow,) = await until(lambda: list((folder / "staged").glob("slow.*")))
    name = slow.name
    await asyncio.wait_for(reaches(service, name, "LOADING"), LIMIT_S)
    assert await halves(other) == RIGHT
    loading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loading
    with pipe.open("wb"):
        await asyncio.wait_for(reaches(service, name, "END"), LIMIT_S)
    await service.aclose()
    await adapter.unload(other)
    await until(lambda: not list((folder / "staged").iterdir()))


async def reaches(service: ModelService, name: str, state: str) -> None:
    while [each.state for each in await service.status(name)] != [state]:
        pass


async def test_a_killed_server_is_reported_and_the_next_load_starts_another(
    adapter: TfServingAdapter, artifact: Make, half_plus_two: Path, deaths: Deaths
) -> None:
    before = [await adapter.load(artifact(half_plus_two, version=each)) for each in (1, 2)]
    assert before[0].pid is not None
    os.kill(before[0].pid, signal.SIGKILL)
    died = [await deaths.next() for _ in before]
    assert [endpoint for endpoint, _ in died] == before
    assert all("SIGKILL" in reason for _, reason in died)
    with pytest.raises(BackendUnavailable):
        await halves(before[0])
    await adapter.unload(before[0])
    after = await adapter.load(artifact(half_plus_two))
    assert after.pid != before[0].pid
    assert await halves(after) == RIGHT
    await adapter.unload(after)


async def test_a_server_that_dies_while_it_loads_is_reported_to_the_load(
    adapter: TfServingAdapter, artifact: Make, half_plus_two: Path, deaths: Deaths
) -> None:
    other = await adapter.load(artifact(half_plus_two))
    assert other.pid is not None
    os.kill(other.pid, signal.SIGSTOP)  # what is asked of it now is not answered
    loading = asyncio.create_task(adapter.load(artifact(half_plus_two, version=2)))
    await asyncio.sleep(0)
    os.kill(other.pid, signal.SIGKILL)
    with pytest.raises(BackendDied, match=r"died while it was loading.*SIGKILL"):
        await loading
    assert (await deaths.next())[0] == other


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a `tensorflow_model_server` on PATH: a shell script with this body."""

    def put(body: str) -> None:
        script = tmp_path / "bin" / "tensorflow_model_server"
        script.parent.mkdir()
        script.write_text(f"#!/bin/sh\n{body}\n")
        script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")

    return put


async def test_a_server_on_path_is_preferred_and_called_by_its_own_version(
    on_path: Callable[[str], None], artifact: Make, half_plus_two: Path, tmp_path: Path
) -> None:
    on_path(
        'if [ "$1" = --version ]; then echo "TensorFlow ModelServer: 2.19.1-fake"; exit; fi\n'
        f'exec {sys.executable} -m adapters.tfserving.embedded "$@"'
    )
    adapter = TfServingAdapter(tmp_path / "tfs", Deaths())
    try:
        endpoint = await adapter.load(artifact(half_plus_two))
        assert endpoint.runtime == "TensorFlow Serving 2.19.1-fake"
        assert await halves(endpoint) == RIGHT
    finally:
        await adapter.close()
    assert list((tmp_path / "tfs").iterdir()) == [tmp_path / "tfs" / "models.config"]


async def test_a_server_that_does_not_start_is_quoted(
    on_path: Callable[[str], None], artifact: Make, half_plus_two: Path, tmp_path: Path
) -> None:
    on_path('echo "Failed to start server. Error: Invalid argument: no"; exit 255')
    adapter = TfServingAdapter(tmp_path / "tfs", Deaths())
    with pytest.raises(BackendUnavailable, match=r"exit code 255; it said: Failed to start server\. Error: Invalid"):
        await adapter.load(artifact(half_plus_two))
    await adapter.close()


@pytest_asyncio.fixture(loop_scope="module")
async def configured(half_plus_two: Path, tmp_path: Path) -> AsyncIterator[str]:
    """The address of a TF Serving that somebody else runs, with half/123 and a corrupt half/124."""
    (tmp_path / "half" / "124").mkdir(parents=True)
    (tmp_path / "half" / "123").symlink_to(half_plus_two)
    config = tmp_path / "models.config"
    one = f'name: "half" base_path: "{tmp_path}/half" model_version_policy {{ all {{}} }}'
    config.write_text(f"model_config_list {{ config {{ {one} }} }}")
    address = f"127.0.0.1:{free_port()}"
    flags = [f"--port={address.rpartition(':')[2]}", f"--model_config_file={config}"]
    child = await Child.start([sys.executable, "-m", "adapters.tfserving.embedded", *flags], name="configured")
    service = ModelService(address)
    try:
        await service.wait_ready(LIMIT_S)
        while {each.state for each in await service.status("half")} != {"AVAILABLE", "END"}:
            pass
        yield address
    finally:
        await service.aclose()
        await child.stop(grace_s=5)


async def test_a_configured_server_is_used_as_it_is(
    configured: str, artifact: Make, half_plus_two: Path, tmp_path: Path
) -> None:
    adapter = TfServingAdapter(tmp_path / "tfs", Deaths(), configured)
    endpoint = await adapter.load(artifact(half_plus_two))
    assert (endpoint.address, endpoint.pid) == (configured, None)
    assert endpoint.runtime == f"TensorFlow Serving at {configured}"
    assert endpoint.remote["model"] == "half"
    with pytest.raises(
        BackendUnavailable, match="expected version 5 of model 'half' to be AVAILABLE, got 123 AVAILABLE, 124 END"
    ):
        await adapter.load(artifact(half_plus_two, version=5))
    with pytest.raises(BackendUnavailable, match="got 123 AVAILABLE, 124 END"):
        await adapter.load(artifact(half_plus_two, version=124))
    with pytest.raises(BackendUnavailable, match="got no such model"):
        await adapter.load(artifact(half_plus_two, model="other"))
    await adapter.unload(endpoint)
    assert await halves(endpoint) == RIGHT
    await adapter.close()
    assert await halves(endpoint) == RIGHT


async def test_a_managed_server_gets_toriis_configuration(
    configured: str, artifact: Make, half_plus_two: Path, tmp_path: Path
) -> None:
    adapter = TfServingAdapter(tmp_path / "tfs", Deaths(), configured, manage=True)
    endpoint = await adapter.load(artifact(half_plus_two, version=9))
    assert endpoint.remote["model"].startswith("half.9.")
    assert await halves(endpoint) == RIGHT
    await adapter.close()
    service = ModelService(configured)
    await asyncio.wait_for(reaches(service, endpoint.remote["model"], "END"), LIMIT_S)
    await service.aclose()


async def test_a_configured_server_that_is_not_there_may_be_there_later(
    artifact: Make, half_plus_two: Path, tmp_path: Path
) -> None:
    address = f"127.0.0.1:{free_port()}"
    for manage in (False, True):
        adapter = TfServingAdapter(tmp_path / "tfs", Deaths(), address, manage)
        with pytest.raises(BackendUnavailable, match="connect"):
            await adapter.load(artifact(half_plus_two))
        await adapter.close()


@pytest.fixture
def without_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.tfserving.adapter.find_spec", lambda _name: None)


@pytest.mark.usefixtures("without_packages")
async def test_what_is_missing_is_said_with_its_remedy(tmp_path: Path) -> None:
    adapter = TfServingAdapter(tmp_path, Deaths())
    assert adapter.missing() == "tensorflow-serving-api is not installed: pip install 'torii-gateway[tensorflow]'"
