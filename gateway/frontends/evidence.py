"""How a frontend passes on what it has noted of experiments."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final, TypeAlias

from gateway.experiments.recording import Increment, Recorder

_log = logging.getLogger(__name__)

Take: TypeAlias = Callable[[list[Increment]], None]

_EVERY_S: Final = 0.25
"""What a frontend that is killed has noted and not told is lost; a guardrail sees a breach no earlier."""


async def pass_on(recorder: Recorder, take: Take) -> None:
    """Pass on what is noted, every quarter of a second until cancelled, and the rest then."""
    try:
        while True:
            await asyncio.sleep(_EVERY_S)
            _pass_on(recorder, take)
    finally:
        _pass_on(recorder, take)


def _pass_on(recorder: Recorder, take: Take) -> None:
    try:
        if increments := recorder.take():
            take(increments)
    except Exception:  # noqa: BLE001  # what comes after it must not be lost as well
        _log.exception("what was noted of experiments could not be passed on")
