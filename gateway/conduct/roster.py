"""Which runs go on, and which have ended not long ago: late evidence and outcomes of those still come in."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

from gateway.conduct.active import Active
from gateway.conduct.standings import Name
from gateway.experiments.definition import Definition
from gateway.experiments.recording import Increment

_ENDED: Final = 64


class Roster:
    """Of each experiment at most one run goes on, and at most one that has ended is remembered."""

    def __init__(self, most_ended: int = _ENDED) -> None:
        self.active: dict[Name, Active] = {}
        self._ended: OrderedDict[Name, Active] = OrderedDict()
        self._most_ended = most_ended

    def all(self) -> Iterator[Active]:
        """Those that go on, then those that have ended."""
        return (each for runs in (list(self.active.values()), list(self._ended.values())) for each in runs)

    def of(self, name: Name, run: int | None = None) -> Active | None:
        """A run by its number, or an experiment's latest."""
        for active in (self.active.get(name), self._ended.get(name)):
            if active is not None and run in (None, active.definition.run):
                return active
        return None

    def of_increment(self, increment: Increment) -> Active | None:
        """Whose evidence it is."""
        return self.of((increment.model, increment.experiment), increment.run)

    def begin(self, definition: Definition) -> Active:
        """A run that goes on; where it was thought to be over, with what is known of it."""
        name = definition.model, definition.name
        ended = self._ended.get(name)
        if ended is not None and ended.definition.run == definition.run:
            del self._ended[name]
            ended.follow(definition)
            active = ended
        else:
            active = Active.of(definition)
        self.active[name] = active
        return active

    def end(self, name: Name, definition: Definition) -> None:
        """A run is over; `definition` is as it ended."""
        active = self.active.pop(name)
        active.definition = definition
        self._keep(name, active)

    def recall(self, definition: Definition) -> Active:
        """A run that is over; its evidence is still to be loaded, if it is not remembered."""
        name = definition.model, definition.name
        active = self.of(name, definition.run)
        if active is None:
            active = Active.of(definition)
            self._keep(name, active)
        return active

    def _keep(self, name: Name, active: Active) -> None:
        self._ended.pop(name, None)
        self._ended[name] = active
        while len(self._ended) > self._most_ended:
            self._ended.popitem(last=False)
