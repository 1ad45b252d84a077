"""The folder of channel files: each changed as a whole, one at a time, by commands and by the server alike."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final

from adapters.errors import InvalidInput
from gateway.edge.channel_file import CHANNEL_NAME, Channel, ChannelFile
from gateway.edge.disk import DISK, Disk
from gateway.errors import ModelNotFound
from gateway.locking import PATIENCE_S, locked
from gateway.types import MODEL_NAME

_FOLDER: Final = "channels"


class ChannelFolder:
    """The channels of all models of an edge folder. Blocking: disk, and whoever else writes just now, for seconds."""

    def __init__(self, edge: Path, disk: Disk = DISK, patience_s: float = PATIENCE_S) -> None:
        self._folder = edge / _FOLDER
        self._disk = disk
        self._patience_s = patience_s

    def models(self) -> list[str]:
        """The models that have channels, in order."""
        found = (each.name.removesuffix(".json") for each in self._folder.glob("*.json"))
        return sorted(each for each in found if MODEL_NAME.fullmatch(each))

    def path(self, model: str) -> Path:
        """Where a model's file is; raises InvalidInput where it is no model's name."""
        if not MODEL_NAME.fullmatch(model):
            raise InvalidInput(f"model {model!r:.80}: expected a name of a-z 0-9 . _ - (64 at most)")
        return self._folder / f"{model}.json"

    def read(self, model: str) -> ChannelFile:
        """A model's file; raises ModelNotFound, and ConfigError where it is wrong."""
        try:
            return ChannelFile.read(self.path(model))
        except FileNotFoundError:
            there = ", ".join(self.models()) or "none"
            raise ModelNotFound(
                f"model '{model}' has no channels; there is {there}; torii edge promote makes them"
            ) from None

    def change(self, model: str, channel: str, change: Callable[[Channel], Channel], make: bool = False) -> Channel:
        """Have a channel changed to what `change` makes of it, durably; nothing is written where that is the same.

        With `make`, a channel that is not there is made. Raises what `change` raises, ModelNotFound, InvalidInput,
        Conflict where somebody else keeps the lock, ConfigError where the file is wrong, OSError.
        """
        if not CHANNEL_NAME.fullmatch(channel):
            raise InvalidInput(f"channel {channel!r:.80}: expected a name of a-z 0-9 - (32 at most), as stable")
        path = self.path(model)
        if make:
            self._folder.mkdir(exist_ok=True)
        elif not self._folder.is_dir():
            return self.read(model).channel(channel)
        with locked(self._folder / ".lock", self._patience_s):
            if make and not path.exists():
                file = ChannelFile(model=model, salt=secrets.token_hex(16))
            else:
                file = self.read(model)
            before = file.channels.get(channel, Channel()) if make else file.channel(channel)
            changed = change(before)
            if changed != before:
                self._disk.write(path, file.having(channel, changed).text().encode())
        return changed
