"""What promoting a variant does: the label names its version, and its backend is asked first."""

from __future__ import annotations

import asyncio
from pathlib import Path

import tomlkit

from gateway.config import ConfigError, read_model_config
from gateway.controlplane import ControlPlane
from gateway.errors import Conflict, ModelNotFound, NotAllowed
from gateway.experiments.definition import Definition
from gateway.labels import Labels
from gateway.replacing import replace_text
from gateway.repository import read_text
from gateway.routing import choose
from gateway.types import Deployment, Target

_FILE = "model.toml"


class Promotion:
    """Moves labels, and where variants differ in their backends, changes the order in model.toml."""

    def __init__(self, control: ControlPlane, labels: Labels) -> None:
        self._control = control
        self._labels = labels

    async def promote(self, definition: Definition, variant: str, who: str) -> str:
        """Have unpinned requests go where a variant's went; gives what was done, in words.

        Raises:
            ModelNotFound: no such variant, or no such deployment.
            VersionNotReady: its deployment is not ready.
            NotAllowed: labels.toml or model.toml cannot be written.
        """
        found = definition.variant(variant)
        if found is None:
            there = ", ".join(each.name for each in definition.variants)
            raise ModelNotFound(f"experiment {definition} has no variant '{variant:.80}'; there are: {there}")
        tables = self._control.tables()
        deployment = choose(found.target, tables)
        label = definition.promote_label
        before = tables[definition.model].labels.get(label)
        await self._labels.set(definition.model, label, deployment.version, who)
        done = f"label {label}: {before or 'none'} -> {deployment.version}"
        if await self._prefer(deployment, label):
            done += f"; {_FILE}: backend {deployment.backend} comes first"
        return done

    async def _prefer(self, deployment: Deployment, label: str) -> bool:
        """Have the deployment's backend be the first of its version; gives whether that had to be done."""
        wanted = Target(deployment.model, label=label)
        if choose(wanted, self._control.tables()) == deployment:
            return False
        table = self._control.tables()[deployment.model]
        order = [deployment.backend, *(each for each in table.backends if each != deployment.backend)]
        async with self._control.changing():
            folder = self._control.snapshot.entry(deployment.model).path
            await asyncio.to_thread(_write_order, folder / _FILE, order)
        if choose(wanted, self._control.tables()) != deployment:
            raise Conflict(f"model '{deployment.model}': something else changes {_FILE} just now; promote again")
        return True


def _write_order(file: Path, order: list[str]) -> None:
    """Set `backends` in a model.toml; what people wrote around it stays. Blocking."""
    name = f"{file.parent.name}/{file.name}"
    try:
        before = read_text(file)
        text = before or ""
        document = tomlkit.parse(text)
        document["backends"] = order
        changed = tomlkit.dumps(document)
        read_model_config(text, name)
        read_model_config(changed, name)
        if file.is_symlink():
            raise ConfigError(f"{name}: it is a symbolic link, which would be lost")
        replace_text(file, before, changed)
    except (ConfigError, ValueError) as error:
        raise NotAllowed(f"{error}; the order of backends was not changed: mend the file first") from None
    except OSError as error:
        raise NotAllowed(f"{name} cannot be written: {error.strerror or error}") from error
