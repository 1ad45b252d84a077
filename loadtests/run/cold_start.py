"""Cold starts: from `torii serve`, and from a version's publishing, to the first right answer, several times."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import Any, Final

from loadtests.gateways import Gateway
from loadtests.results.schema import Figure, Noise, Run
from loadtests.run import figures
from loadtests.run.probing import Check
from loadtests.run.session import Show
from loadtests.run.subjects import Subject

SERVED: Final = "cold start"
PUBLISHED: Final = "publishing"

_ANSWER: Final = "first right answer"
_LOOK_S: Final = 0.01
_PATIENCE_S: Final = 180.0

Open = Callable[..., AbstractContextManager[Gateway]]
"""Starts a gateway: (overlay, held_back, wait)."""


class ColdStarts:
    """Measures one subject after the other, each in a gateway of its own that serves nothing else."""

    def __init__(self, start: Open, check: Check, show: Show) -> None:
        self._start = start
        self._check = check
        self._show = show

    def turn(self, subject: Subject, number: int) -> None:
        """Once from `torii serve`, once from publishing."""
        model, version, backend = parts(subject.deployment)
        alone = {model: {"backends": [backend], "versions": [int(version)]}}
        for phase, held_back in ((SERVED, ()), (PUBLISHED, (f"{model}/{version}",))):
            self._show.begin(f"round {number}: {subject}, {phase}", 10.0)
            with self._ready(alone, held_back) as gateway:
                if not self._timed(gateway, subject, phase, number):
                    return

    @contextmanager
    def _ready(self, alone: Mapping[str, Any], held_back: tuple[str, ...]) -> Iterator[Gateway]:
        with self._start(overlay=alone, held_back=held_back, wait=bool(held_back)) as gateway:
            yield gateway

    def _timed(self, gateway: Gateway, subject: Subject, phase: str, number: int) -> bool:
        began, begun_s = datetime.now(UTC), time.monotonic()
        if phase == PUBLISHED:
            gateway.publish(subject.deployment.partition("@")[0])
        while why := self._check(gateway, subject):
            if time.monotonic() > begun_s + _PATIENCE_S:
                subject.fail(f"{phase}: no right answer within {_PATIENCE_S:.0f} s: {why}")
                return False
            time.sleep(_LOOK_S)
        took_s = time.monotonic() - begun_s
        subject.runs.append(
            Run(
                began=began.isoformat(timespec="milliseconds"),
                phase=phase,
                round=number,
                arrival="closed",
                connections=1,
                warm_up_s=0.0,
                slices=(),
                noise=Noise(None, None, None),
                events=((round(took_s, 3), _ANSWER),),
            )
        )
        return True


def cold_figures(subject: Subject) -> list[Figure]:
    """Both times, over all rounds."""
    return [
        figures.of_times(f"from {what}", [run.events[0][0] for run in figures.phase(subject.runs, phase)], "s")
        for phase, what in ((SERVED, "torii serve"), (PUBLISHED, "publishing"))
    ]


def parts(deployment: str) -> tuple[str, str, str]:
    """Model, version and backend of a deployment that names all three; raises ValueError."""
    name, _, backend = deployment.partition("@")
    model, _, version = name.partition("/")
    if not (version and backend):
        raise ValueError(f"deployments: expected MODEL/VERSION@BACKEND for a cold start, got {deployment}")
    return model, version, backend
