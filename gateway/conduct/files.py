"""The files of experiments: changed as a whole, one at a time, by however many gateways share the folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from adapters.errors import InvalidInput
from gateway.config import ConfigError
from gateway.controlplane import ControlPlane
from gateway.errors import Conflict, ModelNotFound, NotAllowed
from gateway.experiments.definition import Definition
from gateway.experiments.files import FOLDER, read_experiment
from gateway.locking import PATIENCE_S, locked
from gateway.replacing import Overtaken, replace_text, sync_folder
from gateway.repository import MOST_EXPERIMENTS, read_text
from gateway.types import MODEL_NAME

_LOCK: Final = ".lock"
_TRIES: Final = 3


class ExperimentFiles:
    """Blocking: disk, and whoever else changes a file of the same model just now, for some seconds at most."""

    def __init__(self, control: ControlPlane, patience_s: float = PATIENCE_S) -> None:
        self._control = control
        self._patience_s = patience_s

    def create(self, model: str, name: str, text: str) -> Definition:
        """Write a new file; raises Conflict where there is one, NotAllowed where it cannot be written."""
        with self._changing(model, name, make=True) as file:
            if file.exists():
                raise Conflict(f"experiment '{model}/{name}' is there already; set changes it")
            if sum(1 for _ in file.parent.glob("*.toml")) >= MOST_EXPERIMENTS:
                raise Conflict(f"model '{model}' has {MOST_EXPERIMENTS} experiments, and may not have more; remove one")
            replace_text(file, None, text)
        return read_experiment(text, model, name, where(model, name))

    def change(self, model: str, name: str, change: Callable[[str, Definition], str]) -> Definition:
        """Have a file's text, and what it says, changed to another text; gives what it says then.

        Raises:
            ModelNotFound: there is no such file.
            NotAllowed: it is wrong, or cannot be written.
        """
        with self._changing(model, name) as file:
            for more in reversed(range(_TRIES)):
                text = read_text(file)
                if text is None:
                    raise _not_there(model, name)
                changed = change(text, read_experiment(text, model, name, where(model, name)))
                definition = read_experiment(changed, model, name, where(model, name))
                try:
                    if changed != text:
                        replace_text(file, text, changed)
                    break
                except Overtaken:
                    if not more:
                        raise
        return definition

    def remove(self, model: str, name: str) -> None:
        """Delete a file; raises ModelNotFound and NotAllowed."""
        with self._changing(model, name) as file:
            try:
                file.unlink()
            except FileNotFoundError:
                raise _not_there(model, name) from None
            sync_folder(file.parent)

    @contextmanager
    def _changing(self, model: str, name: str, make: bool = False) -> Iterator[Path]:
        if not MODEL_NAME.fullmatch(name):
            raise InvalidInput(f"experiment {name!r:.80}: expected a name of a-z 0-9 . _ - (64 at most)")
        entry = self._control.snapshot.entry(model)
        if self._control.directive(model).upload is not None:
            raise NotAllowed(
                f"model '{model}' was uploaded: experiments are kept in a model's folder in the repository"
            )
        folder = entry.path / FOLDER
        file = folder / f"{name}.toml"
        try:
            if file.is_symlink() or folder.is_symlink():
                raise NotAllowed(f"{where(model, name)}: it is behind a symbolic link, which would be lost")
            if make:
                folder.mkdir(exist_ok=True)
            elif not folder.is_dir():
                raise _not_there(model, name)
            with locked(folder / _LOCK, self._patience_s, self._busy(model)):
                yield file
        except ConfigError as error:
            raise NotAllowed(f"{error}; nothing was written: mend the file first") from None
        except OSError as error:
            raise NotAllowed(f"{where(model, name)} cannot be written: {error.strerror or error}") from error

    def _busy(self, model: str) -> NotAllowed:
        lock = f"{model}/{FOLDER}/{_LOCK}"
        return NotAllowed(f"{lock} has been locked by another process for {self._patience_s:g} s; end that one")


def where(model: str, name: str) -> str:
    """How an experiment's file is called."""
    return f"{model}/{FOLDER}/{name}.toml"


def _not_there(model: str, name: str) -> ModelNotFound:
    return ModelNotFound(f"experiment '{model}/{name}' is not there")
