"""The models that the embedded server holds: its configuration, their states, and who is using them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, Protocol

import grpc

from adapters.tensors import Tensor, Tensors
from adapters.tfserving.libtensorflow import TensorFlowError

_log = logging.getLogger(__name__)

_ENDED_REMEMBERED = 256

_UNKNOWN = 2


class Refused(Exception):
    """A request that is answered with an error: its gRPC code and text."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class Model(Protocol):
    """A loaded model, as SavedModel is one; `signatures` are SignatureDefs by name."""

    @property
    def signatures(self) -> Mapping[str, Any]:
        """SignatureDefs by name."""
        ...

    def run(self, feeds: Tensors, fetches: Sequence[str]) -> list[Tensor]:
        """Compute the tensors named by `fetches` from the named ones; raises TensorFlowError."""
        ...

    def close(self) -> None:
        """Give the memory back."""
        ...


class State(IntEnum):
    """ModelVersionStatus.State."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclass(frozen=True, slots=True)
class ServableId:
    """A version of a model."""

    name: str
    version: int


@dataclass(slots=True)
class Servable:
    """One life of a version: its state only moves forward. Guarded by the lock of `Servables`."""

    id: ServableId
    path: Path
    state: State = State.START
    error: TensorFlowError | None = None
    wanted: bool = True
    users: int = 0
    loaded: Model | None = None

    @property
    def model(self) -> Model:
        """The loaded model; only for holders of a lease."""
        assert self.loaded is not None
        return self.loaded


class Servables:
    """Loads what is configured and unloads what is not, in threads of its own: requests never wait for either."""

    def __init__(self, load: Callable[[Path], Model], threads: int) -> None:
        self._load = load
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="load")
        self._lock = threading.Lock()
        self._wanted: Mapping[ServableId, Path] = {}
        self._labels: Mapping[tuple[str, str], int] = {}
        self._servables: dict[ServableId, Servable] = {}

    def configure(self, wanted: Mapping[ServableId, Path], labels: Mapping[tuple[str, str], int]) -> None:
        """Replace the whole configuration; returns before what is new is loaded and what is left out unloaded.

        A version that failed to load is tried again once it was left out of a configuration.
        """
        with self._lock:
            for servable_id in self._wanted.keys() - wanted.keys():
                self._retire(self._servables[servable_id])
            for servable_id in sorted(wanted.keys() - self._wanted.keys(), key=lambda each: each.version):
                servable = self._servables[servable_id] = Servable(servable_id, wanted[servable_id])
                self._pool.submit(self._bring_up, servable)
            self._wanted, self._labels = wanted, labels
            self._forget_old()

    @contextmanager
    def lease(self, spec: Any) -> Iterator[Servable]:
        """The available servable that a ModelSpec means, kept loaded until the lease ends; raises Refused."""
        with self._lock:
            servable = self._find(spec)
            servable.users += 1
        try:
            yield servable
        finally:
            with self._lock:
                servable.users -= 1
                if servable.state is State.UNLOADING and not servable.users:
                    self._pool.submit(self._take_down, servable)

    def states(self, name: str, version: int | None) -> list[Servable]:
        """What is known of a version or of all versions of a model, also of those that ended; raises Refused."""
        with self._lock:
            found = [each for each in self._servables.values() if each.id.name == name]
        if version is not None:
            found = [each for each in found if each.id.version == version]
        if not found:
            what = "any versions" if version is None else f"version {version}"
            raise Refused(grpc.StatusCode.NOT_FOUND, f"Could not find {what} of model {name}")
        return sorted(found, key=lambda each: each.id.version)

    def _find(self, spec: Any) -> Servable:
        name = spec.name
        if not name:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "ModelSpec has no name specified.")
        choice = spec.WhichOneof("version_choice")
        if choice is None:
            available = [each for each in self._servables.values() if _serves(each) and each.id.name == name]
            if available:
                return max(available, key=lambda each: each.id.version)
            raise Refused(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: Latest({name})")
        version = spec.version.value if choice == "version" else self._labelled(name, spec.version_label)
        servable = self._servables.get(ServableId(name, version))
        if servable is None or not _serves(servable):
            raise Refused(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: Specific({name}, {version})")
        return servable

    def _labelled(self, name: str, label: str) -> int:
        version = self._labels.get((name, label))
        if version is None:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, f"Unrecognized servable version label: {label}")
        return version

    def _retire(self, servable: Servable) -> None:
        servable.wanted = False
        if servable.state is State.AVAILABLE:
            servable.state = State.UNLOADING
            if not servable.users:
                self._pool.submit(self._take_down, servable)
        elif servable.state is State.START:
            servable.state = State.END

    def _bring_up(self, servable: Servable) -> None:
        with self._lock:
            if servable.state is not State.START:
                return
            servable.state = State.LOADING
        loaded, error = None, None
        try:
            loaded = self._load(servable.path)
            _log.info("loaded %s/%d", servable.id.name, servable.id.version)
        except Exception as failure:  # noqa: BLE001  # whatever is wrong with a file, the other models are served on
            error = failure if isinstance(failure, TensorFlowError) else TensorFlowError(_UNKNOWN, repr(failure))
            _log.error("could not load %s/%d: %s", servable.id.name, servable.id.version, error)
        with self._lock:
            servable.loaded, servable.error = loaded, error
            unwanted = not error and not servable.wanted  # it was left out of the configuration meanwhile
            servable.state = State.END if error else State.UNLOADING if unwanted else State.AVAILABLE
        if unwanted:
            self._take_down(servable)

    def _take_down(self, servable: Servable) -> None:
        servable.model.close()
        with self._lock:
            servable.loaded = None
            servable.state = State.END
        _log.info("unloaded %s/%d", servable.id.name, servable.id.version)

    def _forget_old(self) -> None:
        ended = [each.id for each in self._servables.values() if each.state is State.END and not each.wanted]
        for servable_id in ended[:-_ENDED_REMEMBERED]:
            del self._servables[servable_id]


def _serves(servable: Servable) -> bool:
    return servable.state is State.AVAILABLE
