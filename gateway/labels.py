"""Labels that are moved by name: checked, written to labels.toml, and shown to whoever answers requests."""

from __future__ import annotations

import asyncio
import re
import threading
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from adapters.errors import InvalidInput
from gateway.config import MAX_CONFIG_BYTES, ConfigError, read_labels
from gateway.controlplane import ControlPlane
from gateway.errors import ModelNotFound, NotAllowed
from gateway.replacing import replace_text
from gateway.repository import LABELS_FILE, read_text
from gateway.routing import choose
from gateway.types import Target

_LABEL = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


_SOMEBODY = "somebody at the control port"

OnChange: TypeAlias = Callable[[str, str, int | None, int | None, str], None]


class Labels:
    """Reads and moves the labels of the models in the repository. Once a call returns, requests go by it."""

    def __init__(self, control: ControlPlane, on_change: OnChange = lambda *change: None) -> None:
        """`on_change` is told of every change: model, label, the version before and after (None: no label), and who."""
        self._control = control
        self._on_change = on_change
        self._writing = threading.Lock()

    async def of(self, model: str) -> dict[str, int]:
        """A model's labels, as they count now; raises ModelNotFound."""
        table = self._control.tables().get(model)
        return dict(table.labels if table else self._control.snapshot.entry(model).labels or {})

    async def set(self, model: str, label: str, version: int, who: str = _SOMEBODY) -> None:
        """Have a label name a version from now on; `who` is for the record.

        Raises:
            InvalidInput: the label's name or the version is not of its form.
            ModelNotFound: there is no such model or version.
            VersionNotReady: the version has no deployment that is ready.
            NotAllowed: labels.toml is wrong, or cannot be written.
            BackendUnavailable: the repository cannot be read.
        """
        _check_label(label)
        if type(version) is not int or not 0 < version < 10**18:
            raise InvalidInput(f"version: expected a positive integer, got {version!r:.40}")
        async with self._control.changing():
            file = self._file(model)
            choose(Target(model, version), self._control.tables())
            before = await asyncio.to_thread(self._change, file, label, version)
        if before != version:
            self._on_change(model, label, before, version, who)

    async def remove(self, model: str, label: str, who: str = _SOMEBODY) -> None:
        """Take a label away; raises as `set` does, and ModelNotFound where the model has no such label."""
        _check_label(label)
        async with self._control.changing():
            file = self._file(model)
            before = await asyncio.to_thread(self._change, file, label, None)
            if before is None:
                there = ", ".join(sorted(await self.of(model))) or "none"
                raise ModelNotFound(f"model '{model}' has no label '{label}'; there are: {there}")
        self._on_change(model, label, before, None, who)

    def _file(self, model: str) -> Path:
        entry = self._control.snapshot.entry(model)
        if self._control.directive(model).upload is not None:
            raise NotAllowed(f"model '{model}' was uploaded: labels are kept in a model's folder in the repository")
        return entry.path / LABELS_FILE

    def _change(self, file: Path, label: str, version: int | None) -> int | None:
        """Set a label in a labels.toml, or remove it (None); gives what it named before. Blocking: disk."""
        name = f"{file.parent.name}/{file.name}"
        try:
            with self._writing:  # a caller who is cancelled leaves the thread at work
                text = read_text(file)
                before = read_labels(text or "", name)
                if before.get(label) != version:
                    _write(file, text, with_label(text or "", label, version))
        except ConfigError as error:
            raise NotAllowed(f"{error}; nothing was written: mend the file first") from None
        except OSError as error:
            raise NotAllowed(f"{name} cannot be written: {error.strerror or error}; no label was changed") from error
        return before.get(label)


def _check_label(label: str) -> None:
    if not _LABEL.fullmatch(label):
        raise InvalidInput(
            f"label {label!r:.80}: expected a name of a-z 0-9 . _ - (64 at most, beginning with a letter or digit)"
        )


def with_label(text: str, label: str, version: int | None) -> str:
    """The text of a right labels.toml with one label set, or removed (None). Other lines stay as they are.

    Raises:
        ConfigError: it would be too large to be read again.
    """
    key = label if _BARE_KEY.fullmatch(label) else f'"{label}"'
    ours = [] if version is None else [f"{key} = {version}"]
    lines: list[str] = []
    for line in text.replace("\r\n", "\n").rstrip("\n").split("\n") if text else []:
        if label in tomllib.loads(line):  # every line is a whole: a label's value cannot be more than a number
            lines += ours
            ours = []
        else:
            lines.append(line)
    changed = "".join(f"{line}\n" for line in lines + ours)
    if len(changed.encode()) > MAX_CONFIG_BYTES:
        raise ConfigError(f"{LABELS_FILE}: expected at most {MAX_CONFIG_BYTES} bytes, and it would be larger")
    return changed


def _write(file: Path, before: str | None, text: str) -> None:
    if file.is_symlink():
        raise ConfigError(f"{file.parent.name}/{file.name}: it is a symbolic link, which would be lost")
    replace_text(file, before, text)
