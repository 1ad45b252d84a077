"""What the routes of one edge server share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aiohttp import web

from gateway.edge.server.charge import Charge
from gateway.edge.server.resigning import Resigning
from gateway.edge.server.saving import Saving
from gateway.edge.server.steward import Steward
from gateway.edge.server.tally import Tally
from gateway.edge.server.watching import Watch


@dataclass(frozen=True, slots=True)
class State:
    """Who is asked for what an answer needs; `resigning` is None where nothing is signed here."""

    charge: Charge
    watch: Watch
    tally: Tally
    saving: Saving
    steward: Steward
    resigning: Resigning | None


STATE: Final = web.AppKey("state", State)
