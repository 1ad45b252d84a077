"""A deployment's row: what was measured of it, and what that costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from loadtests.verdict import costs
from loadtests.verdict.answers import Array, accuracy
from loadtests.verdict.candidates import READY, Candidate, failed_share, percentile_ms
from loadtests.verdict.document import Agreement, Row


def row(
    candidate: Candidate,
    after: Mapping[str, Any],
    classes: Array | None,
    agreement: Agreement | None,
    precision: float,
) -> Row:
    """All that was measured of one.

    Args:
        candidate: It.
        after: What the control API says of it after the load; nothing where it is gone. Memory is as it was then.
        classes: [rows], the right ones, where they are known.
        agreement: How near its answers are to what is right.
        precision: Of the search for the highest rate, a share.
    """
    status = candidate.status
    seen = after if after.get("rss_bytes") else status
    return Row(
        deployment=candidate.name,
        backend=status["backend"],
        runtime=status.get("runtime", ""),
        digest=status.get("digest", ""),
        state="not ready" if not candidate.ready else "failed" if candidate.failure else "measured",
        why=_why(candidate, after),
        marks=candidate.marks(),
        load_s=status.get("load_s"),
        artifact_bytes=status.get("artifact_bytes"),
        rss_bytes=seen.get("rss_bytes"),
        server_rss_bytes=seen.get("server_rss_bytes"),
        sharing=seen.get("sharing") or 1,
        alone_p50_ms=percentile_ms(candidate.alone, 0.5),
        alone_p99_ms=percentile_ms(candidate.alone, 0.99),
        p50_ms=percentile_ms(candidate.loaded, 0.5),
        p99_ms=percentile_ms(candidate.loaded, 0.99),
        errors=failed_share(candidate.loaded),
        highest_rate=candidate.highest_rate(precision),
        cpu_ms=costs.typical(candidate.cpu_ms),
        accuracy=None if candidate.outputs is None or classes is None else accuracy(candidate.outputs, classes),
        agreement=agreement,
    )


def _why(candidate: Candidate, after: Mapping[str, Any]) -> str:
    """Why it is not ready, or what failed, and what the gateway says of it by now."""
    if not candidate.ready:
        return ": ".join(filter(None, [candidate.status["state"], candidate.status["reason"]]))
    if not candidate.failure:
        return ""
    state, reason = after.get("state", "gone"), after.get("reason", "")
    now = "" if state == READY else f"; it is {state} now" + (f": {reason}" if reason else "")
    return (candidate.failure + now)[:1500]


def priced(rows: Sequence[Row], cores: int, price: float) -> list[Row]:
    """With costs: all by CPU time, or, where that is not known of all that were measured, all by the highest rate.

    What costs nothing has no costs to compare.
    """
    if price <= 0:
        return list(rows)
    loaded = [each for each in rows if each.state == "measured" and each.p99_ms]
    if loaded and all(each.cpu_ms for each in loaded):
        return [msgspec.structs.replace(each, cost=each.cpu_ms and costs.by_cpu(each.cpu_ms, price)) for each in rows]
    if not cores:
        return list(rows)
    return [
        msgspec.structs.replace(each, cost=each.highest_rate and costs.by_rate(each.highest_rate, cores, price))
        for each in rows
    ]
