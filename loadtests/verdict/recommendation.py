"""Which deployment should serve: a pure function over figures with intervals. What overlaps is undecided, not won."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from loadtests.verdict.against import NOTEWORTHY, against, doubts
from loadtests.verdict.document import Estimate, Recommendation, Row
from loadtests.verdict.words import amount, bytes_, estimate, joined, percent

_MOST_ERRORS: Final = 0.001


def problems(row: Row, rows: Sequence[Row], target_ms: float | None) -> tuple[str, ...]:
    """What keeps a row from being recommended; `rows` are all, of which the most accurate sets the standard."""
    return tuple(filter(None, [*_wrong(row), _less_accurate(row, rows), *_slow(row, target_ms)]))


def _wrong(row: Row) -> Iterator[str]:
    if row.state != "measured":
        yield f"{row.state}: {row.why}" if row.why else row.state
    if row.agreement and not row.agreement.within:
        same = row.agreement.argmax
        best = "" if same is None else f", and {percent(same)} of {row.agreement.rows} rows have the same best class"
        off = f"off by {amount(row.agreement.largest)} of the largest value, {amount(row.agreement.limit)} is allowed"
        yield f"its answers are not the reference's: {off}{best}"
    if row.errors is not None and row.errors > _MOST_ERRORS:
        yield f"{percent(row.errors)} of the requests failed"


def _less_accurate(row: Row, rows: Sequence[Row]) -> str:
    mine = row.accuracy
    best = max((each.accuracy for each in rows if each.accuracy), key=lambda each: each.low, default=None)
    if mine is None or best is None or not mine.below(best):
        return ""
    return f"{percent(mine.value)} of its answers are right, another's {percent(best.value)}"


def _slow(row: Row, target_ms: float | None) -> Iterator[str]:
    if target_ms is None:
        return
    if row.highest_rate is not None and row.highest_rate.high <= 0:
        yield f"no rate keeps its p99 within {amount(target_ms)} ms"
    elif row.p99_ms is not None and row.p99_ms.low > target_ms:
        yield f"its p99 at the rate is {estimate(row.p99_ms)} ms, over the target of {amount(target_ms)} ms"


def recommend(rows: Sequence[Row], target_ms: float | None) -> Recommendation:
    """The cheapest of those that answer rightly and keep p99 within the target, if it is surely the cheapest.

    Rows have their `problems`. Without costs the highest rate decides. The order of rows does not matter.
    """
    rows = sorted(rows, key=lambda each: each.deployment)
    fit = [each for each in rows if not each.problems and each.state == "measured"]
    if not fit:
        return _none(rows, target_ms)
    if len(rows) == 1:
        text = f"{rows[0].deployment} is the only deployment of this version: there is nothing to compare it with"
        return Recommendation("alone", (rows[0].deployment,), f"{text}.", doubts(fit))
    sure = [each for each in fit if target_ms is None or (each.p99_ms is not None and each.p99_ms.high <= target_ms)]
    if not sure:
        return _unsure(fit, target_ms)
    return _decided(sure, fit, target_ms)


def _none(rows: Sequence[Row], target_ms: float | None) -> Recommendation:
    if not rows:
        return Recommendation("none", (), "There is no deployment of this version.")
    measured = [each for each in rows if each.alone_p99_ms is not None]
    nearest = min(measured, key=lambda each: each.alone_p99_ms.value if each.alone_p99_ms else 0.0, default=None)
    texts = dict.fromkeys(problem for each in rows for problem in each.problems)
    told = "; ".join(f"{joined([each.deployment for each in rows if text in each.problems])}: {text}" for text in texts)
    hint = ""
    if nearest is not None and any(problem for each in rows for problem in _slow(each, target_ms)):
        fastest = f"The fastest alone is {nearest.deployment}, p99 {estimate(nearest.alone_p99_ms)} ms"
        hint = f" {fastest}: give a longer --latency-target, or a machine that is faster."
    return Recommendation("none", (), f"{told[:1500]}.{hint}")


def _unsure(fit: Sequence[Row], target_ms: float | None) -> Recommendation:
    told = "; ".join(f"{each.deployment} {estimate(each.p99_ms)} ms" for each in fit)
    reason = (
        f"None surely keeps p99 within {amount(target_ms)} ms at the rate: {told}. "
        "More rounds (--rounds) narrow the intervals; a lower --rate is easier."
    )
    return Recommendation("undecided", _names(fit), reason, doubts(fit))


def _decided(sure: Sequence[Row], fit: Sequence[Row], target_ms: float | None) -> Recommendation:
    if len(sure) == 1:
        (only,) = sure
        others = "keeps p99 within the target for sure" if len(fit) > 1 else "does what is asked for"
        reason = f"{only.deployment} is the only one that {others}."
        return Recommendation("recommended", _names(sure), reason, against(only, fit, target_ms))
    figure = _by_cost if all(each.cost for each in sure) else _by_rate
    known = [each for each in sure if figure(each)]
    if len(known) < len(sure):
        reason = f"Neither the costs nor the highest rates of {joined(_names(sure))} are all known."
        return Recommendation("undecided", _names(sure), reason, doubts(sure))
    first = min(known, key=lambda each: _value(figure(each)))
    rivals = [each for each in known if each is first or not _below(figure(first), figure(each))]
    told = "; ".join(f"{each.deployment} {_told(each)}" for each in rivals)
    if len(rivals) > 1:
        more = "More rounds (--rounds) narrow them."
        reason = f"{told}: these intervals overlap.{_lightest(rivals)} {more}"
        return Recommendation("undecided", _names(rivals), reason, doubts(rivals))
    following = min((each for each in known if each is not first), key=lambda each: _value(figure(each)))
    what = "costs the least" if figure is _by_cost else "takes the most requests"
    within = f" and keeps p99 within {amount(target_ms)} ms" if target_ms is not None else ""
    compared = f"{_told(first)}; the next, {following.deployment}, {_told(following)}"
    reason = f"{first.deployment} answers rightly{within}, and {what}: {compared}."
    return Recommendation("recommended", _names([first]), reason, against(first, fit, target_ms))


def _by_cost(row: Row) -> Estimate | None:
    return row.cost


def _by_rate(row: Row) -> Estimate | None:
    """As a cost: the less, the better."""
    rate = row.highest_rate
    return Estimate(-rate.value, -rate.high, -rate.low) if rate else None


def _told(row: Row) -> str:
    if row.cost:
        return f"{estimate(row.cost)} a million requests"
    return f"{estimate(row.highest_rate)} requests/s"


def _lightest(rows: Sequence[Row]) -> str:
    sized = sorted((each.memory_bytes, each.deployment) for each in rows if each.memory_bytes is not None)
    if len(sized) < 2 or sized[0][0] * NOTEWORTHY >= sized[1][0]:
        return ""
    return f" {sized[0][1]} needs the least memory, {bytes_(sized[0][0])}."


def _names(rows: Sequence[Row]) -> tuple[str, ...]:
    return tuple(each.deployment for each in rows)


def _value(found: Estimate | None) -> float:
    assert found is not None
    return found.value


def _below(one: Estimate | None, other: Estimate | None) -> bool:
    return one is not None and other is not None and one.below(other)
