"""Every experiment as it counts now: what its file says, and what was decided and may not be written yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

import msgspec

from gateway.errors import ModelNotFound
from gateway.experiments.definition import Definition, Standing
from gateway.repository import Snapshot

Name: TypeAlias = tuple[str, str]
"""Model and experiment."""

KEPT_FIELDS = ("state", "run", "started", "ended", "reason", "winner", "current")
"""Of a Definition: what Torii keeps, and not people."""

_NAMES_SHOWN = 20


class Standings:
    """What Torii keeps of an experiment (state, run, weights in force …) counts once it is decided, written or not."""

    def __init__(self) -> None:
        self._files: dict[Name, Definition] = {}
        self._decided: dict[Name, Definition] = {}
        self._wrong: frozenset[Name] = frozenset()

    def look(self, snapshot: Snapshot) -> list[tuple[Name, Definition | None, Definition | None]]:
        """Take what the files say now; gives what has changed by other hands: name, before, after.

        A file that is wrong, or in a folder that cannot be read, says what it said before.
        """
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
        changes = [
            (key, self._files.get(key), files.get(key))
            for key in sorted(self._files.keys() | files.keys())
            if self._files.get(key) != files.get(key)
        ]
        self._files, self._wrong = files, frozenset(wrong)
        for key in list(self._decided):
            if key not in files or not _newer(self._decided[key], files[key]):
                del self._decided[key]
        return changes

    def wrote(self, definition: Definition) -> None:
        """A file says this now, by our own hand."""
        key = definition.model, definition.name
        self._files[key] = definition
        if key in self._decided and not _newer(self._decided[key], definition):
            del self._decided[key]

    def removed(self, model: str, name: str) -> None:
        """A file is gone, by our own hand."""
        self._files.pop((model, name), None)
        self._decided.pop((model, name), None)

    def decide(self, definition: Definition) -> None:
        """Have what Torii keeps of an experiment count from now on."""
        self._decided[definition.model, definition.name] = definition

    def of(self, model: str) -> Iterator[Definition]:
        """A model's experiments."""
        return (self._standing(key) for key in sorted(self._files) if key[0] == model)

    def all(self) -> Iterator[Definition]:
        """Every experiment, in order of name."""
        return (self._standing(key) for key in sorted(self._files))

    def get(self, model: str, name: str) -> Definition | None:
        """One experiment, if it is there."""
        return self._standing((model, name)) if (model, name) in self._files else None

    def find(self, model: str, name: str) -> Definition:
        """One experiment; raises ModelNotFound."""
        found = self.get(model, name)
        if found is None:
            shown = [str(each) for each in self.of(model)][:_NAMES_SHOWN]
            there = ", ".join(shown) or "none"
            raise ModelNotFound(f"experiment '{model:.64}/{name:.64}' is not there; of this model there are: {there}")
        return found

    def _standing(self, key: Name) -> Definition:
        return self.with_decisions(self._files[key])

    def with_decisions(self, definition: Definition) -> Definition:
        """What a file says, with what was decided and is not in it yet."""
        decided = self._decided.get((definition.model, definition.name))
        if decided is None or not _newer(decided, definition):
            return definition
        kept = {name: getattr(decided, name) for name in KEPT_FIELDS}
        return msgspec.structs.replace(definition, **kept)


def _newer(decided: Definition, file: Definition) -> bool:
    """Whether what was decided is not in the file, and nothing later either."""
    return _moment(decided) > _moment(file)


def _moment(definition: Definition) -> tuple[int, bool, int, object]:
    current = definition.current
    since = current.since.timestamp() if current and current.since else 0.0
    return definition.run, definition.state is Standing.STOPPED, current.epoch if current else -1, since


def difference(
    before: Mapping[str, object], after: Mapping[str, object]
) -> tuple[dict[str, object], dict[str, object]]:
    """What is different in two documents, of each the keys that are, at the top or one below."""
    ours: dict[str, object] = {}
    theirs: dict[str, object] = {}
    for key in before.keys() | after.keys():
        old, new = before.get(key), after.get(key)
        if old == new:
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            inner = [name for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name)]
            old = {name: old[name] for name in inner if name in old}
            new = {name: new[name] for name in inner if name in new}
        if key in before:
            ours[key] = old
        if key in after:
            theirs[key] = new
    return ours, theirs
