"""Puts together all that conducts experiments."""

from __future__ import annotations

import socket

from gateway.conduct.conductor import Conductor
from gateway.conduct.control import ExperimentControl
from gateway.conduct.files import ExperimentFiles
from gateway.conduct.journal import Journal
from gateway.conduct.keeper import Keeper, default_store
from gateway.conduct.outcomes import Outcomes
from gateway.conduct.promotion import Promotion
from gateway.config import Settings
from gateway.controlplane import ControlPlane
from gateway.front import Front
from gateway.labels import Labels


class Conducting:
    """The conductor and its desk; made before the control plane, which asks it for splits."""

    def __init__(self, settings: Settings) -> None:
        self.store = settings.store or default_store(settings.repository)
        name = settings.store_name or f"{socket.gethostname()}:{settings.control_port}"
        self.keeper = Keeper(self.store, name)
        self.journal = Journal(self.keeper)
        self.conductor = Conductor(self.keeper, self.journal)
        self.desk: ExperimentControl

    def join(self, control: ControlPlane, front: Front, labels: Labels) -> None:
        """Say what there is to conduct."""
        conductor = self.conductor
        files = ExperimentFiles(control)
        outcomes = Outcomes(self.keeper, conductor, front.collect)
        promotion = Promotion(control, labels)
        self.desk = ExperimentControl(control, conductor, files, self.journal, self.keeper, outcomes, promotion)
        conductor.join(control, files, self.desk.promote_by)

    async def close(self) -> None:
        """Save what there is, and let go of the store."""
        await self.conductor.close()
        await self.keeper.close()
