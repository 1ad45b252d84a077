"""How an experiment stands, for people, out of the control API's answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import JustifyMethod, RenderableType
from rich.table import Table
from rich.text import Text

_LATENCY = "latency_ms"
_STYLES = {"better": "green", "worse": "red", "running": "green", "no practical difference": "cyan"}
_QUANTILES = ("p50", "p95", "p99")
_UNITS = (("day", 86_400), ("hour", 3600), ("minute", 60))
_NOISE = ("reason", "started", "ended", *(f"current.{each}" for each in ("declared", "slots", "since", "reason")))
_FOLDED = ("target", "estimate", "difference", "verdict", "who", "change", "variants", "description")
_NOTHING = "–"


def status(view: Mapping[str, Any]) -> Iterator[RenderableType]:
    """All of a view: what it is, traffic, metrics, sample ratio, shadow, problems, and the verdict in words."""
    analysis = view["analysis"]
    yield from _heading(view)
    yield _traffic(view)
    if analysis:
        yield _metrics(analysis, view["definition"])
        yield from _needed(analysis)
        yield _sample_ratio(analysis["sample_ratio"])
    if view["shadow"]:
        yield _shadow(view["shadow"])
    for problem in view["problems"]:
        yield Text.assemble(("problem ", "yellow"), problem)
    yield Text(f"verdict: {analysis['words']}" if analysis else "verdict: nothing was measured yet", "bold")


def experiments(found: Sequence[Mapping[str, Any]]) -> Table:
    """One line for each."""
    table = _table("experiment", "state", "run", "variants", "description")
    for each in found:
        name, state = Text(f"{each['model']}/{each['name']}"), Text(each["state"], _STYLES.get(each["state"], ""))
        table.add_row(name, state, str(each.get("run", 0)), Text(_variants(each)), Text(each.get("description", "")))
    return table


def events(found: Sequence[Mapping[str, Any]]) -> Table:
    """One line for each, with what it changed."""
    table = _table("at", "who", "what", "experiment", "change")
    for each in found:
        change = "; ".join(changed(each["before"], each["after"])) if each["before"] else _variants(each["after"])
        text = f"{change} ({each['reason']})" if change and each["reason"] else change or each["reason"]
        name = f"{each['model']}/{each['experiment']}" if each["experiment"] else each["model"]
        table.add_row(moment(each["at"]), Text(each["who"]), Text(each["action"]), Text(name), Text(text))
    return table


def changed(before: Mapping[str, Any], after: Mapping[str, Any], under: str = "") -> Iterator[str]:
    """Each key that differs, as `variants.tf.weight 50 → 90`, but those that say no more than that it was changed."""
    for key in [*before, *(key for key in after if key not in before)]:
        old, new, path = before.get(key), after.get(key), f"{under}{key}"
        if path in _NOISE or (path == "current" and not (old and new)):
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            yield from changed(old, new, f"{path}.")
        elif old != new:
            yield f"{path} {_short(old)} → {_short(new)}"


def number(value: float | None, digits: int = 4) -> str:
    """As people read it: so many digits that count, and whole from ten thousand on."""
    if value is None:
        return _NOTHING
    return f"{value:.0f}" if abs(value) >= 10_000 else f"{value:.{digits}g}"


def duration(seconds: float) -> str:
    """A time as people say it."""
    for unit, length in _UNITS:
        if seconds >= length:
            count = f"{seconds / length:.3g}"
            return f"{count} {unit}" + ("" if count == "1" else "s")
    return f"{seconds:.3g} seconds"


def moment(text: str) -> str:
    """A time of RFC 3339, to the second."""
    return text.replace("T", " ").split(".")[0].removesuffix("Z")


def _heading(view: Mapping[str, Any]) -> Iterator[Text]:
    definition = view["definition"]
    state = definition["state"]
    parts = [(f"{definition['model']}/{definition['name']} ", "bold"), (state, _STYLES.get(state, ""))]
    run = f", run {definition['run']}" if definition.get("run") else ""
    since = f", since {moment(definition['started'])}" if state == "running" and "started" in definition else ""
    ended = f", ended {moment(definition['ended'])}" if state == "stopped" and "ended" in definition else ""
    winner = f", promoted {definition['winner']}" if definition.get("winner") else ""
    reason = f": {definition['reason']}" if definition.get("reason") else ""
    yield Text.assemble(*parts, f"{run}{since}{ended}, control {definition['control']}{winner}{reason}")
    if definition.get("description"):
        yield Text(definition["description"])


def _traffic(view: Mapping[str, Any]) -> Table:
    table = _table(
        "variant", "target", "weight", "share", "requests", "errors", *_QUANTILES, right=("variant", "target")
    )
    quantiles = _latencies(view["analysis"])
    for each in view["variants"]:
        weight = f"{number(each['weight'])} %"
        if each["weight"] != each["declared_weight"]:
            weight += f" (of {number(each['declared_weight'])})"
        times = [number(quantiles.get(each["name"], {}).get(name)) for name in _QUANTILES]
        counts = str(each["requests"]), str(each["errors"])
        table.add_row(Text(each["name"]), Text(each["target"]), weight, f"{100 * each['share']:.1f} %", *counts, *times)
    return table


def _latencies(analysis: Mapping[str, Any] | None) -> dict[str, Mapping[str, float]]:
    found = analysis["metrics"] if analysis else ()
    return {each["variant"]: each["quantiles"] for each in found if each["metric"] == _LATENCY}


def _metrics(analysis: Mapping[str, Any], definition: Mapping[str, Any]) -> Table:
    """A line for each metric of each variant; control's has no comparison."""
    compared = {(each["metric"], each["variant"]): each for each in analysis["comparisons"]}
    table = _table("metric", "variant", "values", "estimate", "difference", "p", "verdict", right=("metric", "variant"))
    for each in analysis["metrics"]:
        found = compared.get((each["metric"], each["variant"]))
        cells = _comparison(found) if found else ("control" if each["variant"] == definition["control"] else "", "", "")
        metric, variant = Text(each["metric"]), Text(each["variant"])
        table.add_row(metric, variant, str(each["count"]), _interval(each["estimate"]), *cells)
    return table


def _comparison(found: Mapping[str, Any]) -> tuple[str, str, Text]:
    verdict = Text(found["verdict"], _STYLES.get(found["verdict"], ""))
    return _interval(found["difference"]), number(found["p_adjusted"], 3), verdict


def _needed(analysis: Mapping[str, Any]) -> Iterator[Text]:
    for each in analysis["comparisons"]:
        if each["verdict"] == "undecided" and each["needed"]:
            more = f"about {each['needed']} more values for each variant may decide it"
            lasting = f", in {duration(each['eta_s'])}" if each["eta_s"] else ""
            yield Text(f"{each['metric']} of {each['variant']}: {more}{lasting}")


def _interval(estimate: Mapping[str, float | None]) -> str:
    low, high = number(estimate["low"], 3), number(estimate["high"], 3)
    return f"{number(estimate['value'])} ({low} to {high})"


def _sample_ratio(found: Mapping[str, Any]) -> Text:
    observed = ", ".join(f"{name} {count}" for name, count in found["observed"].items())
    if found["alarm"]:
        words = f" {found['words']}" if found["words"] else ""
        return Text(f"sample ratio mismatch (p {number(found['p_value'])}): {observed}.{words}", "red")
    return Text(f"sample ratio: as the weights say (p {number(found['p_value'])}): {observed}")


def _shadow(found: Mapping[str, Any]) -> Text:
    share = f" ({100 * found['disagreed'] / found['compared']:.2f} %)" if found["compared"] else ""
    counts = f"{found['compared']} compared, {found['disagreed']} disagreed{share}, {found['failed']} failed"
    largest = f"largest difference {number(found['largest_difference'])}"
    return Text(f"shadow {found['target']}: {counts}, {found['skipped']} skipped, {largest}")


def _variants(definition: Mapping[str, Any]) -> str:
    """As `tf 50 %, onnx 50 %`."""
    found = definition.get("variants", {})
    return ", ".join(f"{name} {number(each.get('weight'))} %" for name, each in found.items())


def _short(value: Any) -> str:
    if isinstance(value, float):
        return number(value)
    text = _NOTHING if value is None or value == "" else str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _table(*headings: str, right: Sequence[str] | None = None) -> Table:
    """Columns of text; where `right` names those that are not, all others are numbers."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in headings:
        to_right = right is not None and heading not in right and heading != "verdict"
        justify: JustifyMethod = "right" if to_right else "left"
        table.add_column(heading, justify=justify, overflow="fold", no_wrap=heading not in _FOLDED)
    return table
