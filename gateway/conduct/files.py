"""The files of experiments: changed as a whole, one at a time, by however many gateways share the folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from adapters.errors import InvalidInput
from gateway.config import ConfigError
from gateway.controlplane import ControlPlane
from gateway.errors import Conflict, ModelNotFound, NotAllowed
from gateway.experiments.definition import Definition
from gateway.experiments.files import FOLDER, read_experiment
from gateway.replacing import replace_text, sync_folder
from gateway.repository import read_text
from gateway.types import MODEL_NAME

_LOCK = ".lock"


class ExperimentFiles:
    """Blocking: disk, and whoever else changes a file of the same model just now."""

    def __init__(self, control: ControlPlane) -> None:
        self._control = control

    def create(self, model: str, name: str, text: str) -> Definition:
        """Write a new file; raises Conflict where there is one, NotAllowed where it cannot be written."""
        with self._changing(model, name) as file:
            if file.exists():
                raise Conflict(f"experiment '{model}/{name}' is there already; set changes it")
            replace_text(file, text)
        return read_experiment(text, model, name, _where(model, name))

    def change(self, model: str, name: str, change: Callable[[str, Definition], str]) -> Definition:
        """Have a file's text, and what it says, changed to another text; gives what it says then.

        Raises:
            ModelNotFound: there is no such file.
            NotAllowed: it is wrong, or cannot be written.
        """
        with self._changing(model, name) as file:
            where = _where(model, name)
            text = read_text(file)
            if text is None:
                raise ModelNotFound(f"experiment '{model}/{name}' is not there")
            changed = change(text, read_experiment(text, model, name, where))
            definition = read_experiment(changed, model, name, where)
            if changed != text:
                replace_text(file, changed)
        return definition

    def remove(self, model: str, name: str) -> None:
        """Delete a file; raises ModelNotFound and NotAllowed."""
        with self._changing(model, name) as file:
            try:
                file.unlink()
            except FileNotFoundError:
                raise ModelNotFound(f"experiment '{model}/{name}' is not there") from None
            sync_folder(file.parent)

    @contextmanager
    def _changing(self, model: str, name: str) -> Iterator[Path]:
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
            folder.mkdir(exist_ok=True)
            if file.is_symlink() or folder.is_symlink():
                raise NotAllowed(f"{_where(model, name)}: it is behind a symbolic link, which would be lost")
            with _locked(folder / _LOCK):
                yield file
        except ConfigError as error:
            raise NotAllowed(f"{error}; nothing was written: mend the file first") from None
        except OSError as error:
            raise NotAllowed(f"{_where(model, name)} cannot be written: {error.strerror or error}") from error


def _where(model: str, name: str) -> str:
    return f"{model}/{FOLDER}/{name}.toml"


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
