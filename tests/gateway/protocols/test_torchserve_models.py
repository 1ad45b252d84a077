"""TorchServe's management as plain data: what a registration may name, which version is the default, pages."""

from __future__ import annotations

import pytest

from adapters.errors import InvalidInput
from gateway.errors import NotAllowed
from gateway.protocols import torchserve_models as models
from gateway.protocols.torchserve import Refusal
from gateway.types import Deployment, ModelTable, Standing, State

R = State.READY


def table(labels: dict[str, int] | None = None, **states: State) -> ModelTable:
    standings = {
        Deployment("m", int(name[1]), name[3:] or "onnxruntime"): Standing(state) for name, state in states.items()
    }
    return ModelTable("m", ("onnxruntime", "tflite"), labels or {}, standings)


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("digits", ("digits", None)),
        ("digits.mar", ("digits.mar", None)),
        ("digits/2", ("digits", 2)),
        ("m/007", ("m", 7)),
    ],
)
def test_a_url_is_a_name_in_the_repository(url: str, place: tuple[str, int | None]) -> None:
    assert models.read_place(url) == place


@pytest.mark.parametrize(
    "url",
    [
        *(
            "http://x/m.mar",
            "https://x",
            "HTTP://x",
            "s3://b/m.mar",
            "file:///etc/passwd",
            "file:m",
            "gs://x",
            "data:,x",
        ),
        *("/etc/passwd", "//host/m", "\\\\host\\m", "c:\\m", "../m", "m/../../x", "m/..", "..", "a\\..\\b"),
    ],
)
def test_a_place_elsewhere_is_refused_and_the_text_says_why(url: str) -> None:
    with pytest.raises(NotAllowed, match=r"not match any allowed URL.*nothing is fetched|Relative path is not allowed"):
        models.read_place(url)


@pytest.mark.parametrize("url", ["", "M", "m/0", "m/x", "m/1/2", "m@tflite", "a b", "m/", "x" * 65, "ü", "m%2f1"])
def test_what_can_be_no_name_is_not_found(url: str) -> None:
    with pytest.raises(Refusal, match="Model not found at: "):
        models.read_place(url)


@pytest.mark.parametrize(
    ("there", "version"),
    [
        (table(), None),
        (table(v1_=R, v2_=R), 2),
        (table({"stable": 1}, v1_=R, v2_=R), 1),
        (table({"stable": 9}, v1_=R, v2_=State.LOADING), 1),
        (table(v1_=R, v2_=State.UNLOADED), 1),
        (table(v1_=State.FAILED, v2_=State.LOADING), 2),
        (table(v1_=State.UNLOADED), None),
    ],
)
def test_the_default_version_is_the_stable_one_or_the_newest_that_answers(
    there: ModelTable, version: int | None
) -> None:
    assert models.default_version(there) == version


def test_a_backend_has_a_default_version_of_its_own() -> None:
    there = table(v1_tflite=R, v2_=R)
    assert (models.default_version(there, "tflite"), models.default_version(there)) == (1, 2)
    assert models.default_version(there, "torchserve") is None


def test_pages_follow_each_other_and_the_last_has_no_token() -> None:
    urls = {name: f"{name}/1" for name in "cab"}
    first = models.list_models(urls, 2, 0)
    assert first == {
        "nextPageToken": "2",
        "models": [{"modelName": "a", "modelUrl": "a/1"}, {"modelName": "b", "modelUrl": "b/1"}],
    }
    assert models.list_models(urls, 2, 2) == {"models": [{"modelName": "c", "modelUrl": "c/1"}]}
    assert models.list_models(urls, 3, 0).keys() == {"models"}
    assert models.list_models(urls, 100, 2**31 - 1) == {"models": []}


@pytest.mark.parametrize(("minimum", "maximum"), [(0, 0), (-1, -1), (2, 1), (0, 1), (1, 65), (1, 2**31 - 1)])
def test_a_range_that_nothing_keeps_is_refused(minimum: int, maximum: int) -> None:
    with pytest.raises(InvalidInput, match=r"min_worker|max_worker"):
        models.check_workers(minimum, maximum)


def test_what_is_not_known_is_not_told() -> None:
    told = models.describe_processes("litert 2", None, 1500, (2, 10), [])
    assert "batchSize" not in told
    assert told["jobQueueStatus"] == {"remainingCapacity": 8, "pendingRequests": 2}
    assert told["responseTimeout"] == 2
    worker = models.describe_worker(7, 1_700_000_000.5, 4096)
    assert worker == {
        "id": "7", "startTime": "2023-11-14T22:13:20.500Z", "status": "READY", "memoryUsage": 4096, "pid": 7,
    }  # fmt: skip
    described = models.describe("m@tflite", 1, "m/1/model.tflite", {"modelName": "inside", "workers": [worker]}, True)
    assert (described["modelName"], described["modelVersion"], described["loadedAtStartup"]) == ("m@tflite", "1", True)
