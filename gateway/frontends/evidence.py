"""How a frontend passes on what it has noted of experiments."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, TypeAlias

from gateway.experiments.recording import Increment, Recorder

Take: TypeAlias = Callable[[list[Increment]], None]

_EVERY_S: Final = 0.25
"""What a frontend that is killed has noted and not told is lost; a guardrail sees a breach no earlier."""


async def pass_on(recorder: Recorder, take: Take) -> None:
    """Pass on what is noted, every quarter of a second until cancelled, and the rest then."""
    try:
        while True:
            await asyncio.sleep(_EVERY_S)
            if increments := recorder.take():
                take(increments)
    finally:
        if increments := recorder.take():
            take(increments)
