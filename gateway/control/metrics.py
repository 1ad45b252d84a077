"""`GET /metrics`: what Prometheus scrapes, for all frontends together."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Annotated

from fastapi import FastAPI, Header
from fastapi.responses import Response
from prometheus_client.exposition import choose_encoder

from gateway.conduct.desk import ExperimentDesk
from gateway.controlplane import ControlPlane
from gateway.edge.desk import EdgeDesk
from gateway.front import Front
from gateway.telemetry import Moment, Telemetry
from gateway.types import State


def add_metrics(
    app: FastAPI,
    control: ControlPlane,
    front: Front,
    desk: ExperimentDesk | None = None,
    edge: EdgeDesk | None = None,
) -> None:
    """Declare the route."""

    @app.get("/metrics", tags=["status"], response_class=Response)
    async def metrics(accept: Annotated[str, Header()] = "") -> Response:
        """Counts and times of every deployment in Prometheus' text format, or in OpenMetrics where asked for."""
        encode, content_type = choose_encoder(accept)
        telemetry = Telemetry(await _moment(control, front, desk, edge))
        # Many deployments have many lines, and the loop has requests to answer meanwhile.
        return Response(await asyncio.to_thread(encode, telemetry), media_type=content_type)


async def _moment(control: ControlPlane, front: Front, desk: ExperimentDesk | None, edge: EdgeDesk | None) -> Moment:
    statistics, standings = await front.statistics(), await front.standings()
    serving = sum(each.serving for each in standings)
    states = Counter(record.state for record in control.records)
    return Moment(
        statistics,
        {record.deployment: record.deaths for record in control.records},
        {str(state): states[state] for state in State},
        {"serving": serving, "starting": len(standings) - serving},
        sum(each.deaths for each in standings),
        front.ready,
        {} if desk is None else desk.tallies(),
        {} if edge is None else await edge.reported(),
    )
