"""Every experiment as it counts now: what its file says, and what was decided and may not be written yet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import msgspec

from gateway.errors import ModelNotFound
from gateway.experiments.definition import Definition, Standing
from gateway.experiments.form import KEPT
from gateway.repository import Snapshot

Name: TypeAlias = tuple[str, str]
"""Model and experiment."""

_NAMES_SHOWN = 20


class Standings:
    """What Torii keeps of an experiment (state, run, weights in force …) counts once it is decided, written or not."""

    def __init__(self) -> None:
        self.wrong: frozenset[Name] = frozenset()
        self._snapshot: Snapshot | None = None
        self._files: dict[Name, Definition] = {}
        self._names: dict[str, list[str]] = {}
        self._decided: dict[Name, Definition] = {}
        self._expected: dict[Name, Definition | None] = {}
        self._runs: dict[Name, int] = {}

    def look(self, snapshot: Snapshot) -> list[tuple[Name, Definition | None, Definition | None]]:
        """Take what the files say now; gives what people have changed in them: name, before, after.

        A file that is wrong, or in a folder that cannot be read, says what it said before.
        """
        if snapshot is self._snapshot:
            return []
        before = self._files
        self._snapshot, self._files = snapshot, self._read(snapshot)
        files = self._files
        self._names = {}
        for model, name in sorted(files):
            self._names.setdefault(model, []).append(name)
        changes = []
        for key in sorted(before.keys() | files.keys()):
            old, new = before.get(key), files.get(key)
            if old == new:
                continue
            ours = key in self._expected and self._expected[key] == new
            self._expected.pop(key, None)
            if not ours and _by_hand(old, new):
                changes.append((key, old, new))
        for key, each in files.items():
            self._runs[key] = max(each.run, self.last_run(key))
        for key in list(self._decided):
            if key not in files or not newer(self._decided[key], files[key]):
                del self._decided[key]
        return changes

    def _read(self, snapshot: Snapshot) -> dict[Name, Definition]:
        files: dict[Name, Definition] = {}
        wrong: set[Name] = set()
        for model, entry in snapshot.models.items():
            for name, definition in entry.experiments.items():
                key = model, name
                if definition is not None:
                    files[key] = definition
                elif key in self._files:
                    wrong.add(key)
                    files[key] = self._files[key]
        files.update({key: each for key, each in self._files.items() if key[0] in snapshot.unreadable})
        self.wrong = frozenset(wrong)
        return files

    def expect(self, key: Name, definition: Definition | None) -> None:
        """A file says this, or is gone, by our own hand: at the next look that is nobody's change."""
        self._expected[key] = definition

    def decide(self, definition: Definition) -> None:
        """Have what Torii keeps of an experiment count from now on."""
        key = definition.model, definition.name
        self._decided[key] = definition
        self._runs[key] = max(definition.run, self.last_run(key))

    def last_run(self, key: Name) -> int:
        """The last run that there was under a name, of a file that is gone, too."""
        return self._runs.get(key, 0)

    def of(self, model: str) -> Iterator[Definition]:
        """A model's experiments."""
        return (self.with_decisions(self._files[model, name]) for name in self._names.get(model, ()))

    def all(self) -> Iterator[Definition]:
        """Every experiment, in order of name."""
        return (each for model in list(self._names) for each in self.of(model))

    def get(self, model: str, name: str) -> Definition | None:
        """One experiment, if it is there."""
        found = self._files.get((model, name))
        return None if found is None else self.with_decisions(found)

    def find(self, model: str, name: str) -> Definition:
        """One experiment; raises ModelNotFound."""
        found = self.get(model, name)
        if found is None:
            shown = [str(each) for each in self.of(model)][:_NAMES_SHOWN]
            there = ", ".join(shown) or "none"
            raise ModelNotFound(f"experiment '{model:.64}/{name:.64}' is not there; of this model there are: {there}")
        return found

    def with_decisions(self, definition: Definition) -> Definition:
        """What a file says, with what was decided and is not in it yet."""
        decided = self._decided.get((definition.model, definition.name))
        if decided is None or not newer(decided, definition):
            return definition
        return with_kept(definition, decided)


def with_kept(definition: Definition, other: Definition) -> Definition:
    """The same with what Torii keeps of another."""
    return msgspec.structs.replace(definition, **{name: getattr(other, name) for name in KEPT})


def newer(decided: Definition, file: Definition) -> bool:
    """Whether what was decided is not in the file, and nothing later either; of two at a time, a breach counts."""
    return _moment(decided) > _moment(file)


def _moment(definition: Definition) -> tuple[object, ...]:
    current = definition.current
    over = 0 if definition.state is Standing.RUNNING else 1 + (definition.ended is not None)
    if current is None:
        return definition.run, over, -1, False, 0.0
    since = current.since.timestamp() if current.since else 0.0
    return definition.run, over, current.epoch, bool(current.reason), since


def _by_hand(old: Definition | None, new: Definition | None) -> bool:
    """Whether people have changed what is theirs: what Torii keeps, another gateway may have written."""
    return old is None or new is None or with_kept(new, old) != old
