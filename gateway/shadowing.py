"""Copies of requests to other deployments, whose answers are compared and dropped: nobody ever waits for them."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from time import monotonic, monotonic_ns
from typing import Final

import msgspec

from adapters.base import LOWEST_PRIORITY, Urgency
from adapters.errors import ServingError
from adapters.tensors import Tensor, Tensors
from gateway.comparing import Comparison, compare
from gateway.experiments.recording import Notes, ShadowIncrement
from gateway.registry import Registry
from gateway.types import ShadowRule

_log = logging.getLogger(__name__)

_MOST: Final = 64
_MOST_BYTES: Final = 64 << 20
_PATIENCE_S: Final = 1.0
_LOOK_S: Final = 0.002
_LIMIT_S: Final = 30.0
_IN_A_THREAD: Final = 1 << 16


class _Copy(msgspec.Struct):
    notes: Notes
    rule: ShadowRule
    inputs: Tensors
    outputs: Tensors
    bytes: int
    made_s: float


class Shadows:
    """One for each frontend. One copy runs at a time, at the lowest priority, and only while no caller is waiting.

    Where cores share caches, a copy slows callers down even on a core of its own: so copies rest, by their rule.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._waiting: deque[_Copy] = deque()
        self._bytes = 0
        self._running: asyncio.Task[None] | None = None

    def offer(self, notes: Notes, rule: ShadowRule, inputs: Tensors, outputs: Tensors) -> None:
        """Have a request that was answered copied, as often as the rule says, if there is room."""
        if random.random() >= rule.share:  # noqa: S311  # a sample, no secret
            return
        size = sum(_bytes(each) for each in (*inputs.values(), *outputs.values()))
        if len(self._waiting) >= _MOST or self._bytes + size > _MOST_BYTES:
            notes.shadow.skipped += 1
            return
        self._waiting.append(_Copy(notes, rule, inputs, outputs, size, monotonic()))
        self._bytes += size
        if self._running is None:
            self._running = asyncio.create_task(self._run(), name="shadows")

    async def _run(self) -> None:
        try:
            while self._waiting:
                copy = self._waiting.popleft()
                self._bytes -= copy.bytes
                if not await self._quiet(copy.made_s + _PATIENCE_S):
                    copy.notes.shadow.skipped += 1
                    continue
                began_s = monotonic()
                await self._send(copy)
                await asyncio.sleep((monotonic() - began_s) * (1 / copy.rule.busy - 1))
        finally:
            self._running = None

    async def _quiet(self, until_s: float) -> bool:
        """Wait until nobody's request runs; false where that does not come in time."""
        while self._registry.busy:
            if monotonic() > until_s:
                return False
            await asyncio.sleep(_LOOK_S)
        return True

    async def _send(self, copy: _Copy) -> None:
        try:
            with self._registry.lease(copy.rule.target) as lease:
                lease.servable.signature.check(copy.inputs)
                urgency = Urgency(monotonic_ns() + int(_LIMIT_S * 1e9), LOWEST_PRIORITY)
                outputs = await asyncio.wait_for(lease.servable.infer(copy.inputs, urgency), _LIMIT_S)
            found = await _compared(copy, outputs)
        except (ServingError, TimeoutError):
            noted = ShadowIncrement(failed=1)
        except Exception:  # noqa: BLE001  # a copy's trouble is nobody's
            _log.exception("a copied request failed")
            noted = ShadowIncrement(failed=1)
        else:
            noted = ShadowIncrement(compared=1, disagreed=not found.agree, apart=found.apart, cosine=found.cosine)
        copy.notes.shadow.add(noted)


async def _compared(copy: _Copy, outputs: Tensors) -> Comparison:
    if sum(each.size for each in outputs.values()) > _IN_A_THREAD:
        return await asyncio.to_thread(compare, copy.outputs, outputs, copy.rule.tolerance)
    return compare(copy.outputs, outputs, copy.rule.tolerance)


def _bytes(tensor: Tensor) -> int:
    """What a tensor takes; an array of strings is one of pointers."""
    return tensor.nbytes + (sum(map(len, tensor.flat)) if tensor.dtype.hasobject else 0)
