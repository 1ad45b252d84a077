"""From a gateway's deployments of a version to a verdict: asked, put under load in turns, and judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import msgspec

from loadtests.dialects import Dialect
from loadtests.gateways import Gateway
from loadtests.results.schema import Machine
from loadtests.run.measuring import Measure
from loadtests.verdict import control, targets
from loadtests.verdict.asking import Ask, Asking
from loadtests.verdict.bench import NORMAL, Bench, Effort, Tell
from loadtests.verdict.candidates import Candidate, percentile_ms
from loadtests.verdict.document import SCHEMA, Row, Settings, Verdict, Where
from loadtests.verdict.figures import priced, row
from loadtests.verdict.recommendation import problems, recommend
from loadtests.verdict.references import NONE, Agreements, held_against_each_other, held_against_golden
from loadtests.verdict.rows import BadGolden, Rows, golden

_NO_GOLDEN: Final = (
    "There is no golden data: accuracy is unknown, and inputs were invented. Put a golden.npz into the version's "
    "folder, with the arrays inputs/<tensor> and outputs/<tensor>, and labels where there are classes."
)
_ELSEWHERE: Final = "The gateway's processes were not seen: the machine named is the one that the load came from."


@dataclass(frozen=True, slots=True)
class Options:
    """What somebody asks for; None: chosen by what is measured."""

    latency_target_ms: float | None = None
    rate: float | None = None
    price_per_core_hour: float = 0.05
    effort: Effort = NORMAL


@dataclass(frozen=True, slots=True)
class Tools:
    """Who does it: in tests, others."""

    measure: Measure
    dialect: Dialect
    ask: Ask
    fingerprint: Callable[[], Machine]
    tell: Tell


@dataclass(slots=True)
class _Case:
    """One version while it is judged."""

    candidates: list[Candidate]
    rows: Rows | None = None
    agreements: Agreements = NONE
    target_ms: float | None = None
    rate: float | None = None
    marks: list[str] = field(default_factory=list)


def judge(gateway: Gateway, model: str, version: int | None, options: Options, tools: Tools) -> Verdict:
    """Compare all deployments of a version; without one, of the newest.

    Raises:
        NoVersion: there is no such model or version.
        NoGateway: the gateway is gone.
        CutShort: Ctrl-C.
    """
    version, statuses = control.deployments(gateway, model, version)
    case = _Case([Candidate(each["deployment"], each) for each in statuses])
    _ask(case, gateway, model, version, tools)
    _load(case, gateway, options, tools)
    status = gateway.status()
    after = {each["deployment"]: each for each in status["deployments"]}
    classes = case.rows.classes[0] if case.rows else None
    rows = [
        row(each, after.get(each.name, {}), classes, case.agreements.found.get(each.name), options.effort.precision)
        for each in case.candidates
    ]
    rows = priced(rows, int(status.get("cores") or 0), options.price_per_core_hour)
    judged = [_judged(each, rows, case) for each in rows]
    machine = tools.fingerprint()
    if gateway.pid is None:
        case.marks.append(_ELSEWHERE)
    return Verdict(
        schema_=SCHEMA,
        model=model,
        version=version,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=Where(machine.name, machine.cpu, machine.cores, machine.memory_bytes, machine.system),
        settings=_settings(case, options, tools.dialect.name, rows),
        reference=case.agreements.reference,
        accuracy_by=case.rows.classes[1] if case.rows else "",
        rows=tuple(judged),
        recommendation=recommend(judged, case.target_ms),
        marks=tuple(case.marks),
    )


def _ask(case: _Case, gateway: Gateway, model: str, version: int, tools: Tools) -> None:
    """Ask all of them the same, and hold their answers against what is right."""
    asking = Asking(gateway, tools.dialect, tools.ask)
    case.rows = _golden(case, gateway, model, version) or asking.invented(case.candidates)
    if case.rows is None:
        return
    tools.tell(f"answers: {case.rows.count} rows of {case.rows.name}")
    for each in case.candidates:
        asking.ask(each, case.rows)
    outputs = {each.name: each.outputs for each in case.candidates if each.outputs is not None and not each.failure}
    if case.rows.outputs:
        case.agreements = held_against_golden(outputs, case.rows.outputs)
    else:
        case.agreements = held_against_each_other(outputs)


def _golden(case: _Case, gateway: Gateway, model: str, version: int) -> Rows | None:
    try:
        content = control.golden(gateway, model, version)
        if content is not None:
            return golden(content)
        case.marks.append(_NO_GOLDEN)
    except (BadGolden, control.Refused) as error:
        case.marks.append(f"{error}; inputs were invented, and accuracy is unknown.")
    return None


def _load(case: _Case, gateway: Gateway, options: Options, tools: Tools) -> None:
    """Alone, then in search of the highest rate, then all at one rate."""
    bench = Bench(gateway, tools.measure, tools.dialect.protocol, options.effort, tools.tell)
    bench.alone(case.candidates)
    alone = [found for each in case.candidates if each.going and (found := percentile_ms(each.alone, 0.99))]
    case.target_ms = options.latency_target_ms or targets.latency_target_ms(alone)
    if case.target_ms is None:
        return
    bench.search(case.candidates, case.target_ms)
    precision = options.effort.precision
    highest = [found for each in case.candidates if each.going and (found := each.highest_rate(precision))]
    case.rate = options.rate or targets.common_rate(highest)
    if case.rate is not None:
        bench.at(case.candidates, case.rate, case.target_ms)


def _judged(one: Row, rows: Sequence[Row], case: _Case) -> Row:
    found = problems(one, rows, case.target_ms)
    odd = case.agreements.problems.get(one.deployment)
    return msgspec.structs.replace(one, problems=(*found, *([odd] if odd else [])))


def _settings(case: _Case, options: Options, dialect: str, rows: Sequence[Row]) -> Settings:
    by_cpu = any(each.cpu_ms for each in rows) and all(each.cpu_ms for each in rows if each.cost)
    return Settings(
        latency_target_ms=case.target_ms,
        target_given=options.latency_target_ms is not None,
        rate=case.rate,
        rate_given=options.rate is not None,
        price_per_core_hour=options.price_per_core_hour,
        cost_by="" if not any(each.cost for each in rows) else "cpu" if by_cpu else "rate",
        dialect=dialect,
        payload=case.rows.name if case.rows else "none",
        rounds=options.effort.rounds,
        seconds=options.effort.seconds,
    )
