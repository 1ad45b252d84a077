"""What happened since the last slice: arrays that grow on the hot path, and become histograms at the slice's end."""

from __future__ import annotations

import time
from array import array
from collections import Counter, defaultdict
from typing import Final

import numpy as np

from loadtests.engine import histograms
from loadtests.engine.plan import Answers, Slice

_TEXT: Final = 300


class Durations:
    """Seconds from due, and from sent, to answered; where both are the same, one array is both."""

    __slots__ = ("latency_s", "service_s")

    def __init__(self, from_due: bool) -> None:
        self.service_s = array("d")
        self.latency_s = array("d") if from_due else self.service_s

    def told(self) -> Answers:
        """As a slice has it."""
        service = histograms.encode(np.frombuffer(self.service_s))
        same = self.latency_s is self.service_s
        latency = service if same else histograms.encode(np.frombuffer(self.latency_s))
        return Answers(len(self.service_s), latency, service)


class Tally:
    """Counts of the slice that is under way."""

    def __init__(self, began_s: float, open_loop: bool) -> None:
        """`began_s` by time.perf_counter; an open loop tells durations from due as well as from sent."""
        self._began_s = self._begin_s = began_s
        self._cpu_s = time.process_time()
        self._open_loop = open_loop
        self.answers: defaultdict[str, Durations] = self._none()
        self.failures: Counter[str] = Counter()
        self.first_failure = ""
        self.sent = 0
        self.reopened = 0
        self.late_s = 0.0

    def _none(self) -> defaultdict[str, Durations]:
        open_loop = self._open_loop
        return defaultdict(lambda: Durations(open_loop))

    def failed(self, kind: str, text: str) -> None:
        """Count a failure."""
        self.failures[kind] += 1
        if not self.first_failure:
            self.first_failure = (text or kind)[:_TEXT]

    def end_slice(self, level: float, waiting: int, under_way: int) -> Slice:
        """The slice until now; the next one begins."""
        now_s, cpu_s = time.perf_counter(), time.process_time()
        answers, self.answers = self.answers, self._none()
        told = Slice(
            begin_s=self._begin_s - self._began_s,
            end_s=now_s - self._began_s,
            level=level,
            sent=self.sent,
            answers={name: durations.told() for name, durations in answers.items()},
            failures=dict(self.failures),
            first_failure=self.first_failure,
            waiting=waiting,
            under_way=under_way,
            late_us=round(1e6 * self.late_s),
            cpu=(cpu_s - self._cpu_s) / max(now_s - self._begin_s, 1e-9),
            reopened=self.reopened,
        )
        self._begin_s, self._cpu_s = now_s, cpu_s
        self.failures.clear()
        self.first_failure = ""
        self.sent = self.reopened = 0
        self.late_s = 0.0
        return told
