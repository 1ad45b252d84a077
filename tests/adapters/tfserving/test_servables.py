from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from adapters.tfserving.libtensorflow import TensorFlowError
from adapters.tfserving.protos import model_pb2
from adapters.tfserving.servables import Refused, ServableId, Servables, State

LIMIT_S = 10.0


class FakeModel:
    def __init__(self) -> None:
        self.signatures: dict[str, Any] = {}
        self.closed = threading.Event()

    def run(self, feeds: Any, fetches: Any) -> list[Any]:
        return []

    def close(self) -> None:
        assert not self.closed.is_set(), "closed twice"
        self.closed.set()


class FakeLoader:
    """Loads when the test lets it; a path that ends in 'bad' cannot be loaded."""

    def __init__(self) -> None:
        self.models: dict[Path, FakeModel] = {}
        self.started = threading.Semaphore(0)
        self.go = threading.Event()
        self.go.set()

    def __call__(self, path: Path) -> FakeModel:
        self.started.release()
        assert self.go.wait(LIMIT_S)
        if path.name == "bad":
            raise TensorFlowError(3, "no model")
        self.models[path] = FakeModel()
        return self.models[path]


@pytest.fixture
def loader() -> Iterator[FakeLoader]:
    made = FakeLoader()
    yield made
    made.go.set()


@pytest.fixture
def servables(loader: FakeLoader) -> Servables:
    return Servables(loader, threads=2)


def spec(name: str = "m", version: int | None = None, label: str | None = None) -> Any:
    made = model_pb2.ModelSpec(name=name)
    if version is not None:
        made.version.value = version
    if label is not None:
        made.version_label = label
    return made


def reaches(servables: Servables, state: State, name: str = "m", version: int = 1) -> None:
    """Look until the version is in that state: the threads that bring it there have no way to say so."""
    until(lambda: servables.states(name, version)[0].state is state)


def until(true: Callable[[], bool]) -> None:
    deadline = threading.Event()
    timer = threading.Timer(LIMIT_S, deadline.set)
    timer.start()
    while not true():
        assert not deadline.is_set()
    timer.cancel()


ONE = {ServableId("m", 1): Path("one")}


def test_what_is_configured_is_loaded_and_what_is_left_out_unloaded(servables: Servables, loader: FakeLoader) -> None:
    servables.configure(ONE, {})
    reaches(servables, State.AVAILABLE)
    servables.configure({}, {})
    reaches(servables, State.END)
    assert loader.models[Path("one")].closed.is_set()


def test_a_model_in_use_is_unloaded_when_the_last_user_is_done(servables: Servables, loader: FakeLoader) -> None:
    servables.configure(ONE, {})
    reaches(servables, State.AVAILABLE)
    with servables.lease(spec()), servables.lease(spec()):
        for version in (1, 2, 3):  # once these are loaded, whatever was to be done about the first has been done
            servables.configure({ServableId("other", version): Path("other")}, {})
            reaches(servables, State.AVAILABLE, "other", version)
        assert servables.states("m", 1)[0].state is State.UNLOADING
        assert not loader.models[Path("one")].closed.is_set()
        with pytest.raises(Refused, match="not found"), servables.lease(spec()):
            pass
    assert loader.models[Path("one")].closed.wait(LIMIT_S)


def test_others_are_served_while_one_loads(servables: Servables, loader: FakeLoader) -> None:
    servables.configure(ONE, {})
    reaches(servables, State.AVAILABLE)
    loader.started.acquire()
    loader.go.clear()
    servables.configure({**ONE, ServableId("slow", 1): Path("slow")}, {})
    loader.started.acquire()
    assert servables.states("slow", 1)[0].state is State.LOADING
    with servables.lease(spec()) as servable:
        assert servable.id.version == 1
    loader.go.set()
    reaches(servables, State.AVAILABLE, "slow")


def test_a_model_that_was_left_out_while_it_loaded_is_never_served(servables: Servables, loader: FakeLoader) -> None:
    loader.go.clear()
    servables.configure(ONE, {})
    loader.started.acquire()
    servables.configure({}, {})
    loader.go.set()
    reaches(servables, State.END)
    assert loader.models[Path("one")].closed.is_set()


def test_a_model_that_was_left_out_before_it_loaded_is_not_loaded(servables: Servables, loader: FakeLoader) -> None:
    loader.go.clear()
    busy = {ServableId("busy", version): Path(str(version)) for version in (1, 2)}
    servables.configure(busy, {})
    loader.started.acquire()
    loader.started.acquire()
    servables.configure({**busy, **ONE}, {})
    servables.configure(busy, {})
    loader.go.set()
    reaches(servables, State.AVAILABLE, "busy", 2)
    assert servables.states("m", 1)[0].state is State.END
    assert Path("one") not in loader.models


def test_a_model_that_fails_to_load_fails_alone_and_is_tried_again_when_asked(servables: Servables) -> None:
    bad = {ServableId("m", 2): Path("bad")}
    servables.configure(ONE | bad, {})
    reaches(servables, State.END, version=2)
    assert str(servables.states("m", 2)[0].error) == "no model"
    reaches(servables, State.AVAILABLE)
    first = servables.states("m", 2)[0]
    servables.configure(ONE | bad, {})
    assert servables.states("m", 2)[0] is first
    servables.configure(ONE, {})
    servables.configure(ONE | bad, {})
    assert servables.states("m", 2)[0] is not first


def test_any_exception_of_the_loader_is_that_models_failure(loader: FakeLoader) -> None:
    def load(path: Path) -> FakeModel:
        raise MemoryError("too big")

    servables = Servables(load, threads=1)
    servables.configure(ONE, {})
    reaches(servables, State.END)
    assert "too big" in str(servables.states("m", 1)[0].error)


def test_without_a_version_the_newest_that_is_available_answers(servables: Servables) -> None:
    bad = {ServableId("m", 10): Path("bad")}
    servables.configure({ServableId("m", version): Path(str(version)) for version in (2, 9)} | bad, {})
    for version in (2, 9):
        reaches(servables, State.AVAILABLE, version=version)
    reaches(servables, State.END, version=10)
    with servables.lease(spec()) as servable:
        assert servable.id.version == 9


def test_a_label_stands_for_its_version(servables: Servables) -> None:
    servables.configure(ONE, {("m", "stable"): 1})
    reaches(servables, State.AVAILABLE)
    with servables.lease(spec(label="stable")) as servable:
        assert servable.id.version == 1
    with pytest.raises(Refused, match="Unrecognized servable version label: canary"):
        servables.lease(spec(label="canary")).__enter__()


@pytest.mark.parametrize(
    ("asked", "code", "text"),
    [
        (spec("none"), grpc.StatusCode.NOT_FOUND, "Servable not found for request: Latest(none)"),
        (spec("m", 7), grpc.StatusCode.NOT_FOUND, "Servable not found for request: Specific(m, 7)"),
        (spec(""), grpc.StatusCode.INVALID_ARGUMENT, "ModelSpec has no name specified."),
    ],
)
def test_what_is_not_served_is_refused_in_tf_servings_words(
    servables: Servables, asked: Any, code: grpc.StatusCode, text: str
) -> None:
    with pytest.raises(Refused) as caught:
        servables.lease(asked).__enter__()
    assert (caught.value.code, caught.value.text) == (code, text)


def test_versions_that_ended_are_remembered_but_not_for_ever(servables: Servables) -> None:
    for version in range(1, 400):
        servables.configure({ServableId("m", version): Path("bad")}, {})
        reaches(servables, State.END, version=version)
    servables.configure({}, {})
    assert [each.id.version for each in servables.states("m", None)] == list(range(400 - 256, 400))
