"""Puts together all that conducts experiments."""

from __future__ import annotations

import hashlib
import os
import socket
from pathlib import Path

from gateway.conduct.conductor import Conductor
from gateway.conduct.control import ExperimentControl
from gateway.conduct.files import ExperimentFiles
from gateway.conduct.journal import Journal
from gateway.conduct.keeper import Keeper
from gateway.conduct.outcomes import Outcomes
from gateway.conduct.promotion import Promotion
from gateway.config import Settings
from gateway.controlplane import ControlPlane
from gateway.front import Front
from gateway.labels import Labels


class Conducting:
    """The conductor and its desk; made before the control plane, which asks it for splits."""

    def __init__(self, settings: Settings) -> None:
        url = settings.store or f"sqlite:///{_default_file(settings.repository)}"
        name = settings.store_name or f"{socket.gethostname()}:{settings.control_port}"
        self._keeper = Keeper(url, name)
        self.journal = Journal(self._keeper)
        self.conductor = Conductor(self._keeper, self.journal)
        self.desk: ExperimentControl

    def join(self, control: ControlPlane, front: Front, labels: Labels) -> None:
        """Say what there is to conduct."""
        conductor = self.conductor
        files = ExperimentFiles(control)
        outcomes = Outcomes(self._keeper, conductor, front.collect)
        promotion = Promotion(control, labels)
        self.desk = ExperimentControl(control, conductor, files, self.journal, self._keeper, outcomes, promotion)
        conductor.join(control, files, self.desk.promote_by)

    async def close(self) -> None:
        """Save what there is, and let go of the store."""
        await self.conductor.close()
        await self._keeper.close()


def _default_file(repository: Path) -> Path:
    """A file for each repository, in the folder for what outlasts a program's run (XDG Base Directory 0.8)."""
    state = os.environ.get("XDG_STATE_HOME", "")
    folder = Path(state) if state.startswith("/") else Path.home() / ".local/state"
    path = repository.absolute()
    return folder / "torii" / f"{path.name}-{hashlib.sha256(str(path).encode()).hexdigest()[:12]}.db"
