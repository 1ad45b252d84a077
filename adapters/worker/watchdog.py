"""Ends a worker whose model never finishes a run: the control plane then starts another."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from threading import Thread

from adapters.worker.instance import Instance

_log = logging.getLogger(__name__)

_LOOK_S = 1.0


class Watchdog:
    """Looks at what runs once a second; a run that it has seen for `limit_s` ends the process."""

    def __init__(
        self,
        instances: Sequence[Instance],
        limit_s: float,
        die: Callable[[int], object] = os._exit,
    ) -> None:
        self._instances = instances
        self._limit_s = limit_s
        self._die = die
        # Looks are counted, not the time since: a process that was stopped for an hour has not run for an hour.
        self._seen: list[tuple[int, int]] = [(0, 0)] * len(instances)

    def start(self) -> None:
        """Look on in a thread that ends with the process."""
        Thread(target=self._watch, name="watchdog", daemon=True).start()

    def _watch(self) -> None:
        while True:
            time.sleep(_LOOK_S)
            self.look()

    def look(self) -> None:
        """See what runs, one second after the look before."""
        for number, instance in enumerate(self._instances):
            began_ns, looks = self._seen[number]
            running_ns = instance.began_ns
            looks = looks + 1 if running_ns and running_ns == began_ns else 0
            self._seen[number] = running_ns, looks
            if looks * _LOOK_S >= self._limit_s:
                _log.error(
                    "a run of the model (instance %d of %d) has not ended in %.0f s; nobody waits for it any more: "
                    "the worker ends, so that another takes its place",
                    number + 1,
                    len(self._instances),
                    looks * _LOOK_S,
                )
                self._die(1)
