"""A model that keeps itself up to date: what an app uses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike, NDArray

from torii_edge.device import Device
from torii_edge.errors import EdgeError
from torii_edge.installed import InstalledModel
from torii_edge.limits import Limits
from torii_edge.offers import NAME
from torii_edge.runtimes import Load
from torii_edge.self_check import Check, check_in_child
from torii_edge.source import Source
from torii_edge.updating import Update, Updating


class EdgeModel:
    """A model of a channel of an edge server, kept in a folder of its own.

    Example:
        model = EdgeModel("https://edge.example", "digits", Path("models/digits"), trusted_root=Path("root.json"))
        model.update()
        answer = model.run({"x": image})["y"]

    Args:
        url: the server, `https://host[:port][/prefix]`.
        model: the model's name.
        folder: where it is kept; made where it is not there.
        channel: which of the model's channels.
        trusted_root: the `root.json` that came with the app, by a way that is trusted.
        device: what the server is told of this device; found by itself.
        app: the app's version, where the device does not say it.
        runtimes: what loads a bundle's model, by runtime; those that are installed.
        limits: how long the client waits, and how much it takes.
        check: the self-check; in a process of its own.
        refresh_s: how old the signed metadata may be when the server says that there is nothing new.
    """

    def __init__(  # noqa: PLR0913  # all but three have defaults
        self,
        url: str,
        model: str,
        folder: Path | str,
        *,
        trusted_root: Path | str,
        channel: str = "stable",
        device: Device | None = None,
        app: str = "",
        runtimes: Mapping[str, Load] | None = None,
        limits: Limits | None = None,
        check: Check = check_in_child,
        refresh_s: float = 3600.0,
    ) -> None:
        for field, name in (("model", model), ("channel", channel)):
            if not NAME.fullmatch(name):
                raise ValueError(f"{field}: expected a name of a-z 0-9 . _ - (64 at most), got {name!r:.80}")
        self._installed = InstalledModel(Path(folder), runtimes)
        known = self._installed.store.current()
        if known is not None and known.model != model:
            raise ValueError(f"folder: {folder} holds {known.model!r}; give {model!r} a folder of its own")
        source = Source(
            url=url,
            model=model,
            channel=channel,
            root=Path(trusted_root).read_bytes(),
            device=device or Device(app=app),
            runtimes=tuple(self._installed.runtimes),
            limits=limits or Limits(),
            refresh_s=refresh_s,
        )
        self._updating = Updating(self._installed.store, source, check)

    @property
    def version(self) -> int | None:
        """The version in use; None where there is none yet."""
        return self._installed.version

    def update(self) -> Update:
        """Bring the model to what the server wants; other threads run the one that is there meanwhile."""
        update = self._updating.update()
        if update.version is not None and self._installed.runtimes:
            try:
                self._installed.load()
            except EdgeError as error:
                return Update(update.outcome, self.version, str(error), update.poll_s)
        return update

    def run(self, inputs: Mapping[str, ArrayLike]) -> dict[str, NDArray[Any]]:
        """Run the model on arrays by name; see InstalledModel.run."""
        return self._installed.run(inputs)

    def rollback(self) -> int:
        """Go back to the last good model; see InstalledModel.rollback."""
        return self._installed.rollback()

    def status(self) -> dict[str, Any]:
        """What is in use, and what is known; see InstalledModel.status."""
        return self._installed.status()
