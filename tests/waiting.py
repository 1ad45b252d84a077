"""Waiting for what other processes and tasks do, without guessing how long it takes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from functools import wraps
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any, TypeAlias

import psutil
import pytest


async def until(condition: Callable[[], Any], within_s: float = 20.0) -> Any:
    """Wait for a condition, and give its value; raises TimeoutError."""
    async with asyncio.timeout(within_s):
        while not (value := condition()):  # noqa: ASYNC110  # nothing sets an event when a process ends
            await asyncio.sleep(0.002)
        return value


async def turns(count: int = 10) -> None:
    """Let every task that can run do so, several times over."""
    for _ in range(count):
        await asyncio.sleep(0)


def gone(pid: int) -> bool:
    """Whether a process has ended (one that nobody has buried yet has ended, too)."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def children(of: int | None = None) -> list[psutil.Process]:
    """The processes that this one (or another) has started and that still run."""
    return [each for each in psutil.Process(of).children(recursive=True) if not gone(each.pid)]


Started: TypeAlias = Callable[[], list[psutil.Process]]
"""Gives the processes that a test has started and that still run."""


def command(process: psutil.Process) -> list[str]:
    """The command line of a process; empty once it has ended."""
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def bound(items: Iterable[pytest.Item], folder: Path, within_s: float) -> None:
    """Have every asynchronous test below a folder fail, and not hang, where what it waits for never comes."""
    for item in items:
        if isinstance(item, pytest.Function) and folder in item.path.parents and iscoroutinefunction(item.obj):
            item.obj = _bounded(item.obj, within_s)


def _bounded(test: Callable[..., Awaitable[None]], within_s: float) -> Callable[..., Awaitable[None]]:
    @wraps(test)
    async def run(*args: Any, **kwargs: Any) -> None:
        async with asyncio.timeout(within_s):
            await test(*args, **kwargs)

    return run
