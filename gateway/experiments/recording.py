"""What a frontend notes of experiments' requests, and the increments that it makes of that."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import numpy as np

from adapters.tensors import Tensors
from gateway.experiments.definition import EXPERIMENT_HEADER, VARIANT_HEADER
from gateway.experiments.evidence import BINS, CLUSTERS, HISTOGRAM_CLUSTERS, bins
from gateway.experiments.outputs import MOST_OF_ONE, OutputIncrement, examined
from gateway.experiments.tokens import hash_run
from gateway.types import Arm, TrafficSplit

_MOST_NOTES: Final = 1 << 16
"""Of one arm; what comes beyond that between two takings is made into an increment at once."""

_LOOKED_AT: Final = 1 << 16
"""Values of one arm's answers that are looked into between two takings: well below a hundredth of a core."""

_LEAST: Final = _LOOKED_AT // 8
"""What a small output costs as well."""

_KEPT_PAST: Final = 256
"""Notes of epochs that are over are taken for a while: requests under way then still end."""


class ArmIncrement(msgspec.Struct, array_like=True):
    """What one arm's requests came to: little-endian arrays as bytes.

    `units` uint64 [assigned]: hashes of the units that were assigned, one for each request; `answered` and `failed`
    int64 [CLUSTERS]: requests by cluster; `total_ms` float64 [CLUSTERS] and `squares_ms2`: sums of the answered ones'
    latency; `keys` and `counts` uint32 [k]: their histogram where it is not 0, by cluster * BINS + bin.
    """

    units: bytes
    answered: bytes
    failed: bytes
    total_ms: bytes
    squares_ms2: float
    keys: bytes
    counts: bytes
    examined: int
    not_finite: int
    outputs: dict[str, OutputIncrement]


class ShadowIncrement(msgspec.Struct, array_like=True):
    """What became of copied requests; `apart` and `cosine` are the largest difference and the least cosine."""

    compared: int = 0
    disagreed: int = 0
    failed: int = 0
    skipped: int = 0
    apart: float | None = None
    cosine: float | None = None

    def add(self, other: ShadowIncrement) -> None:
        """Add what another has."""
        self.compared += other.compared
        self.disagreed += other.disagreed
        self.failed += other.failed
        self.skipped += other.skipped
        self.apart = max((each for each in (self.apart, other.apart) if each is not None), default=None)
        self.cosine = min((each for each in (self.cosine, other.cosine) if each is not None), default=None)


class Increment(msgspec.Struct, array_like=True):
    """What a frontend has noted of one experiment in one epoch, by the arms' names."""

    model: str
    experiment: str
    run: int
    epoch: int
    arms: dict[str, ArmIncrement]
    shadow: ShadowIncrement | None = None


class ArmNotes:
    """The requests of one arm since the last taking."""

    __slots__ = (
        "_answered",
        "_assigned",
        "_examined",
        "_failed",
        "_full",
        "_latencies_ns",
        "_not_finite",
        "_outputs",
        "_to_look_at",
        "arm",
        "headers",
        "index",
        "lines",
        "parameters",
    )

    def __init__(self, experiment: str, index: int, arm: Arm) -> None:
        self.arm = arm
        self.index = index
        self.headers = ((EXPERIMENT_HEADER, experiment), (VARIANT_HEADER, arm.name))
        self.lines = b"".join(f"{name}: {value}\r\n".encode() for name, value in self.headers)
        self.parameters = {"experiment": experiment, "variant": arm.name}
        self._full: list[ArmIncrement] = []
        self._clear()

    def _clear(self) -> None:
        self._assigned = array("Q")
        self._answered = array("Q")
        self._failed = array("Q")
        self._latencies_ns = array("q")
        self._to_look_at = _LOOKED_AT
        self._examined = 0
        self._not_finite = 0
        self._outputs: dict[str, OutputIncrement] = {}

    def assigned(self, unit: int) -> None:
        """A request was given to this arm; `unit` is the hash of its unit."""
        if len(self._assigned) >= _MOST_NOTES:
            self._full.append(self._increment())
            self._clear()
        self._assigned.append(unit)

    def answered(self, unit: int, latency_ns: int, outputs: Tensors | None) -> None:
        """A request was answered; `outputs` are None where the answer was passed on as it came."""
        self._answered.append(unit)
        self._latencies_ns.append(latency_ns)
        if outputs is not None and self._to_look_at > 0:
            self._examine(outputs)

    def failed(self, unit: int) -> None:
        """A request was not answered, and that was not its caller's fault."""
        self._failed.append(unit)

    def _examine(self, outputs: Tensors) -> None:
        finite = True
        for name, tensor in outputs.items():
            self._to_look_at -= max(_LEAST, min(tensor.size, MOST_OF_ONE))
            found = examined(tensor)
            if found is None:
                finite = False
            elif found.values:
                self._outputs.setdefault(name, OutputIncrement(classes={})).add(found)
        self._examined += 1
        self._not_finite += not finite

    def take(self) -> list[ArmIncrement]:
        """What was noted since the last time."""
        taken = self._full
        if self._assigned or self._answered or self._failed:
            taken.append(self._increment())
            self._clear()
        self._full = []
        return taken

    def _increment(self) -> ArmIncrement:
        units = np.array(self._answered, np.uint64)
        clusters = (units % CLUSTERS).astype(np.int64)
        latencies_ms = np.array(self._latencies_ns, np.float64) / 1e6
        keys = (clusters % HISTOGRAM_CLUSTERS) * BINS + bins(latencies_ms)
        found, counts = np.unique(keys, return_counts=True)
        return ArmIncrement(
            self._assigned.tobytes(),
            np.bincount(clusters, minlength=CLUSTERS).astype(np.int64).tobytes(),
            _by_cluster(self._failed).tobytes(),
            np.bincount(clusters, latencies_ms, CLUSTERS).tobytes(),
            float(latencies_ms @ latencies_ms),
            found.astype(np.uint32).tobytes(),
            counts.astype(np.uint32).tobytes(),
            self._examined,
            self._not_finite,
            self._outputs,
        )


def _by_cluster(units: array[int]) -> np.ndarray[Any, np.dtype[np.int64]]:
    clusters = (np.array(units, np.uint64) % CLUSTERS).astype(np.int64)
    return np.bincount(clusters, minlength=CLUSTERS).astype(np.int64)


class Notes:
    """What was noted of one experiment in one epoch; `split` is the latest of it."""

    def __init__(self, model: str, split: TrafficSplit) -> None:
        self.model = model
        self.split = split
        self.run_hash = hash_run(f"{model}/{split.experiment}", split.run)
        self.arms = [ArmNotes(f"{model}/{split.experiment}", index, arm) for index, arm in enumerate(split.arms)]
        self.shadow = ShadowIncrement()

    def belongs_to(self, split: TrafficSplit) -> bool:
        """Whether evidence of a split is kept under the same names as this."""
        ours = self.split
        return (ours.run, ours.epoch, ours.arms) == (split.run, split.epoch, split.arms)

    def take(self) -> list[Increment]:
        """What was noted since the last time; mostly one increment, or none."""
        arms = {notes.arm.name: notes.take() for notes in self.arms}
        shadow = self.shadow if any(msgspec.structs.astuple(self.shadow)[:4]) else None
        self.shadow = ShadowIncrement()
        taken = []
        while any(arms.values()) or shadow:
            now = {name: each.pop() for name, each in arms.items() if each}
            split = self.split
            taken.append(Increment(self.model, split.experiment, split.run, split.epoch, now, shadow))
            shadow = None
        return taken


class Recorder:
    """Everything that a frontend has noted of experiments."""

    def __init__(self) -> None:
        self._current: dict[tuple[str, str], Notes] = {}
        self._past: list[Notes] = []

    def notes(self, model: str, split: TrafficSplit) -> Notes:
        """Where to note the requests of a split; one of the same run, epoch and arms goes on."""
        key = model, split.experiment
        before = self._current.get(key)
        if before is not None:
            if before.belongs_to(split):
                before.split = split
                return before
            self._past.append(before)  # requests of it are still under way
        self._current[key] = Notes(model, split)
        return self._current[key]

    def keep_only(self, splits: Mapping[tuple[str, str], TrafficSplit]) -> None:
        """End the notes of the experiments that are over."""
        for key in self._current.keys() - splits.keys():
            self._past.append(self._current.pop(key))

    def take(self) -> list[Increment]:
        """What was noted since the last time."""
        taken = [increment for notes in (*self._current.values(), *self._past) for increment in notes.take()]
        del self._past[:-_KEPT_PAST]
        return taken
