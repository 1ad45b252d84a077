"""A store of verdicts in memory, and verdicts to look at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from loadtests.verdict.document import Agreement, encode
from tests.loadtests.verdict.made import around, row, verdict

T = TypeVar("T")


class FakeKeeper:
    """What Keeper is to Verdicts; `fails` is what the store says is wrong with it."""

    def __init__(self) -> None:
        self.documents: dict[tuple[str, int], str] = {}
        self.fails = ""

    async def do(self, act: Callable[[Any], T]) -> T:
        from gateway.experiments.store.errors import StoreUnavailable

        if self.fails:
            raise StoreUnavailable(self.fails)
        return act(self)

    def save_verdict(self, model: str, version: int, at: float, document: str) -> None:
        self.documents[model, version] = document

    def verdict(self, model: str, version: int) -> str | None:
        return self.documents.get((model, version))

    def verdicts(self, model: str) -> list[tuple[int, str]]:
        return sorted(((key[1], each) for key, each in self.documents.items() if key[0] == model), reverse=True)


def with_verdicts() -> FakeKeeper:
    """One on each version of m: one recommended among four, and one undecided."""
    keeper = FakeKeeper()
    four = verdict(
        row("onnxruntime", "m/2"),
        row("tflite", "m/2", cost=around(0.028), cpu_ms=around(2.0), rss_bytes=30_000_000),
        row(
            "torchserve", "m/2", state="failed", why="status 507", server_rss_bytes=200_000_000, sharing=2, p99_ms=None
        ),
        row("tflite-int8", "m/2", agreement=Agreement(0.7, 0.5, 0.5, 16, False)),
        version=2,
        marks=("the gateway's processes were not seen",),
    )
    two = verdict(row("onnxruntime"), row("tflite"))
    for each in (four, two):
        rows = tuple(msgspec.structs.replace(one, digest="") for one in each.rows) if each.version == 1 else each.rows
        keeper.save_verdict("m", each.version, 0.0, encode(msgspec.structs.replace(each, rows=rows)).decode())
    return keeper
