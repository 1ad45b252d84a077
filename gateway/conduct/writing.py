"""Has files say what was decided: of each experiment the latest, as soon as it can be written."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final

from adapters.errors import ServingError
from gateway.conduct.background import Background
from gateway.conduct.files import ExperimentFiles, where
from gateway.conduct.standings import Name, newer
from gateway.errors import ModelNotFound
from gateway.experiments.definition import Definition
from gateway.experiments.files import kept, write_experiment

_log = logging.getLogger(__name__)

_AGAIN_S: Final = 5.0


class Writing:
    """What cannot be written is tried again, and counts meanwhile all the same."""

    def __init__(self, background: Background, again_s: float = _AGAIN_S) -> None:
        self.problems: dict[Name, str] = {}
        self._background = background
        self._again_s = again_s
        self._waiting: dict[Name, Definition] = {}
        self._not_before_s: dict[Name, float] = {}
        self._busy: set[Name] = set()
        self._files: ExperimentFiles

    def join(self, files: ExperimentFiles) -> None:
        """Say what it writes to."""
        self._files = files

    def soon(self, definition: Definition) -> None:
        """Have a file say what is kept of a definition, where that does not say as much, or more, already."""
        self._waiting[definition.model, definition.name] = definition
        self.go_on()

    def forget(self, name: Name) -> None:
        """A file is gone: one that comes in its place has nothing to do with what was decided."""
        for each in (self._waiting, self._not_before_s, self.problems):
            each.pop(name, None)

    def go_on(self) -> None:
        """Try again what could not be written some time ago."""
        now_s = time.monotonic()
        for name in self._waiting.keys() - self._busy:
            if now_s >= self._not_before_s.get(name, 0.0):
                self._busy.add(name)
                self._background.start(self._write(name, self._waiting[name]), f"writing {where(*name)}")

    async def _write(self, name: Name, definition: Definition) -> None:
        try:
            await asyncio.to_thread(self._files.change, *name, lambda text, before: _written(text, before, definition))
        except ModelNotFound:
            self._done(name, definition)  # whoever took the file away has ended the experiment
        except ServingError as error:
            self._failed(name, str(error))
        except BaseException:
            self._failed(name, "it could not be written; see the log")
            raise
        else:
            self._done(name, definition)
        finally:
            self._busy.discard(name)
        self.go_on()

    def _done(self, name: Name, definition: Definition) -> None:
        self.problems.pop(name, None)
        self._not_before_s.pop(name, None)
        if self._waiting.get(name) is definition:
            del self._waiting[name]

    def _failed(self, name: Name, reason: str) -> None:
        problem = f"{reason}; what was decided counts all the same, in this gateway"
        if self.problems.get(name) != problem:
            _log.warning("experiment %s/%s: %s", *name, problem)
        self.problems[name] = problem
        self._not_before_s[name] = time.monotonic() + self._again_s


def _written(text: str, before: Definition, decided: Definition) -> str:
    return write_experiment(text, kept(decided), f"{decided.name}.toml") if newer(decided, before) else text
