"""Before any load: does a row's subject answer at all, and is it the right answer?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from loadtests.dialects import DIALECTS, WrongAnswer, probe
from loadtests.gateways import Gateway, NoGateway
from loadtests.payloads import payload
from loadtests.run.subjects import Subject, pinned

_REFERENCE: Final = "v2-json"
_ROWS: Final = 4
"""So many are compared, one at a time: what is wrong may be right by chance."""

_QUANTIZED: Final = 25.0
"""So many times further from the reference may a variant, as tflite-int8, be: another model is further yet."""

Tensors = Mapping[str, NDArray[Any]]
Expected = tuple[Sequence[tuple[Tensors, Tensors]], str]
"""Inputs with the right outputs, and whose they are."""


@dataclass(slots=True)
class Prober:
    """Asks each subject once; remembers what is right for a version."""

    text: str
    """The scenario's payload."""

    tolerance: float
    timeout_s: float = 30.0
    repository: Path | None = None
    """Where golden.npz of a version would be."""

    _expected: dict[str, Expected] = field(default_factory=dict)

    def check(self, gateway: Gateway, subject: Subject) -> str:
        """What is wrong with a subject's answers; empty where they are right."""
        try:
            return self._check(gateway, subject)
        except (WrongAnswer, NoGateway, OSError, ValueError) as error:
            return f"{subject.dialect}: {error}"

    def _check(self, gateway: Gateway, subject: Subject) -> str:
        metadata = gateway.metadata(subject.deployment)
        self._ask(gateway, subject.deployment, subject.dialect, payload(self.text, metadata).inputs[0])
        version, _, backend = subject.deployment.partition("@")
        if not pinned(subject.deployment):
            return ""
        pairs, whose = self._right(gateway, version)
        limit = min(1.0, self.tolerance * (_QUANTIZED if "-" in backend else 1))
        for inputs, right in pairs:
            outputs = self._ask(gateway, subject.deployment, subject.dialect, inputs)
            if why := differs(outputs, right, limit, whose):
                return why
        return ""

    def _ask(self, gateway: Gateway, deployment: str, dialect: str, inputs: Tensors) -> Tensors:
        spoken = DIALECTS[dialect]
        reply = probe(gateway.target(spoken.protocol), spoken.request(deployment, inputs), self.timeout_s)
        outputs = spoken.outputs(reply)
        if pinned(deployment) and reply.served_by and reply.served_by != deployment:
            raise WrongAnswer(f"asked {deployment}, and {reply.served_by} answered")
        return outputs

    def _right(self, gateway: Gateway, version: str) -> Expected:
        if version not in self._expected:
            self._expected[version] = self._golden(version) or self._by_reference(gateway, version)
        return self._expected[version]

    def _golden(self, version: str) -> Expected | None:
        file = self.repository / version / "golden.npz" if self.repository else None
        if file is None or not file.is_file():
            return None
        with np.load(file, allow_pickle=False) as arrays:
            rows = [{name: arrays[name][each : each + 1] for name in arrays.files} for each in range(_ROWS)]
        whole = [row for row in rows if all(len(each) for each in row.values())]
        return [(_named(row, "inputs/"), _named(row, "outputs/")) for row in whole], "golden.npz"

    def _by_reference(self, gateway: Gateway, version: str) -> Expected:
        """The first ready deployment of the version that is no variant."""
        ready = [each for each in gateway.status()["deployments"] if each["state"] == "READY"]
        same = sorted(
            (each["deployment"] for each in ready if f"{each['model']}/{each['version']}" == version),
            key=lambda name: ("-" in name.partition("@")[2], name),
        )
        if not same:
            raise NoGateway(f"{version} has no deployment that is ready")
        asked = payload(self.text, gateway.metadata(same[0])).inputs[:_ROWS]
        return [(inputs, self._ask(gateway, same[0], _REFERENCE, inputs)) for inputs in asked], same[0]


def differs(outputs: Tensors, right: Tensors, tolerance: float, whose: str) -> str:
    """How outputs are wrong; empty where each is as far as `tolerance` of its range from the right one at most.

    Where a dialect names no outputs, those of one output each are compared.
    """
    if set(outputs) != set(right):  # a dialect that leaves a name out calls it ""
        if len(outputs) != 1 or len(right) != 1:
            return f"outputs {', '.join(sorted(outputs))}; {whose} has {', '.join(sorted(right))}"
        outputs = dict(zip(right, outputs.values(), strict=True))
    for name, expected in right.items():
        if why := _differs(np.asarray(outputs[name]), np.asarray(expected), tolerance):
            return f"wrong answer: output {name} {why} of {whose}"
    return ""


def _differs(got: NDArray[Any], expected: NDArray[Any], tolerance: float) -> str:
    if got.size != expected.size:
        return f"has shape {list(got.shape)}, which is not {list(expected.shape)} as that"
    if expected.dtype.kind not in "fiub":
        return "" if np.array_equal(got.ravel(), expected.ravel()) else "is not that"
    mine, theirs = got.ravel().astype(np.float64), expected.ravel().astype(np.float64)
    span = float(np.ptp(theirs)) or float(np.abs(theirs).max(initial=0.0)) or 1.0
    distance = float(np.abs(mine - theirs).max(initial=0.0))
    if not distance <= tolerance * span:
        return f"is {distance:.3g} off, more than {tolerance:.0%} of the range {span:.3g},"
    return ""


def _named(arrays: Mapping[str, NDArray[Any]], prefix: str) -> Tensors:
    return {name.removeprefix(prefix): each for name, each in arrays.items() if name.startswith(prefix)}


Check = Callable[[Gateway, Subject], str]
