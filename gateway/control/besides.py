"""What the control port does besides serving models."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.control.verdicts import Verdicts
from gateway.edge.desk import EdgeDesk
from gateway.exports.jobs import Exports


@dataclass(frozen=True, slots=True)
class Besides:
    """Exports, deliveries to devices, verdicts on backends: each None where this gateway does without."""

    exports: Exports | None = None
    edge: EdgeDesk | None = None
    verdicts: Verdicts | None = None


NOTHING = Besides()
