"""A comparison as a table for terminals, as Markdown, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from loadtests.comparison import words
from loadtests.comparison.judging import Answer, Gate
from loadtests.comparison.matching import Matched, Pair
from loadtests.results.text import markdown, plain
from loadtests.statistics.estimates import Estimate

_STYLES: Final = {"better": "green", "worse": "red", "undecided": "yellow"}
_HEADS: Final = ("", "baseline", "compared", "difference", "verdict")
_LONG: Final = 500
_EXPLAINED: Final = (
    "Values: of all rounds together, with intervals at 95 %. Differences: means over the rounds; their intervals are "
    "wide enough for all that is asked of a pair (Holm): at most one pair in twenty gets a wrong verdict. Unknown: "
    "from less than a tenth to more than ten times as much."
)


def show(console: Console, matched: Matched, answers: Sequence[Answer]) -> None:
    """Print a table for each pair, and what is to be known of it."""
    for pair in matched.pairs:
        several = pair.ours.source is not pair.theirs.source
        console.print(Text(f"{words.side(pair.ours, several)}", style="bold"))
        console.print(Text(f"against {words.side(pair.theirs, several)}"))
        if pair.differs:
            console.print(Text(f"what differs: {'; '.join(pair.differs)}"))
        console.print(_table([each for each in answers if each.question.pair is pair]))
    console.print(Text(_EXPLAINED, style="dim"))
    for line in remarks(matched, answers):
        console.print(Text(f"* {line}"))


def remarks(matched: Matched, answers: Sequence[Answer]) -> list[str]:
    """What the reader has to know beside the table; plain lines, each once."""
    lines = [caveat for each in answers for caveat in words.caveats(each.question)]
    for side in (side for pair in matched.pairs for side in (pair.theirs, pair.ours)):
        whole = side.source.result.marks
        lines += [f"{plain(side.source.name)}: {plain(mark)}" for mark in whole]
        said = {_kind(mark) for mark in whole}
        marks = {mark for run in side.row.runs if run.phase.startswith("measure") for mark in run.marks}
        lines += [f"{words.side(side, True)}: {plain(mark)}" for mark in sorted(marks) if _kind(mark) not in said]
    return list(dict.fromkeys([*lines, *(plain(each, _LONG) for each in (*matched.lost, *matched.alone))]))


def _kind(mark: str) -> str:
    """`busy machine`, of `busy machine: 23 % steal`."""
    return mark.partition(":")[0]


def as_markdown(matched: Matched, answers: Sequence[Answer]) -> str:
    """The same for a pull request."""
    lines = []
    for pair in matched.pairs:
        several = pair.ours.source is not pair.theirs.source
        lines += [
            f"**{markdown(words.side(pair.ours, several))}** against {markdown(words.side(pair.theirs, several))}"
        ]
        lines += ["", *(f"What differs: {markdown(each)}" for each in pair.differs), ""]
        lines += [f"| {' | '.join(_HEADS)} |", "|---|---|---|---|---|"]
        lines += [f"| {' | '.join(map(markdown, _cells(each)))} |" for each in answers if each.question.pair is pair]
        lines.append("")
    lines += [_EXPLAINED, "", *(f"* {markdown(each)}" for each in remarks(matched, answers))]
    return "\n".join(lines).rstrip() + "\n"


def as_json(matched: Matched, answers: Sequence[Answer], gates: Sequence[Gate] | None) -> bytes:
    """All numbers; bounds that are not known are null."""
    found = [
        {**_answer(each), **({"gate": state} if gates else {})}
        for each, state in zip(answers, gates or ["passed"] * len(answers), strict=True)
    ]
    document = {"answers": found, "remarks": remarks(matched, answers)}
    return msgspec.json.format(msgspec.json.encode(document), indent=2)


def _answer(each: Answer) -> dict[str, Any]:
    question = each.question
    return {
        "ours": _side(question.pair, "ours"),
        "baseline": _side(question.pair, "theirs"),
        "differs": question.pair.differs,
        "phase": question.phase,
        "metric": question.metric,
        "unit": question.unit,
        "lower_is_better": question.lower_is_better,
        "value": question.ours,
        "baseline_value": question.theirs,
        "scale": "ratio" if question.contrast.relative else "difference",
        "alone": each.alone,
        "together": each.together,
        "verdict": each.verdict,
        "says": words.verdict(question, each.verdict),
        "would_be_seen": question.contrast.visible(each.confidence),
        "in_turns": question.contrast.in_turns,
        "rounds": question.contrast.rounds,
        "notes": words.caveats(question),
    }


def _side(pair: Pair, which: str) -> dict[str, str]:
    side = getattr(pair, which)
    names = ("deployment", "dialect", "hardware", "payload")
    machine = side.source.result.machine.name
    return {"file": side.source.name, "machine": machine} | {each: getattr(side.row, each) for each in names}


def _table(answers: Sequence[Answer]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, leading=1)
    for head in _HEADS:
        table.add_column(head, overflow="fold")
    for each in answers:
        what, *cells, said = map(plain, _cells(each))
        shown = (what.replace(", ", "\n", 1), *(_two_lines(cell) for cell in cells))
        table.add_row(*map(Text, shown), Text(_two_lines(said), style=_STYLES[each.verdict]))
    return table


def _two_lines(cell: str) -> str:
    """A number above its interval."""
    value, _, interval = cell.partition(" (")
    return f"{value}\n{interval.removesuffix(')')}"


def _cells(each: Answer) -> tuple[str, ...]:
    question = each.question
    shown: tuple[Estimate, ...] = (question.theirs, question.ours)
    said = "none now" if question.lost else words.verdict(question, each.verdict)
    if each.verdict == "undecided" and (visible := words.visible(each)):
        said += f" ({visible} would show)"
    values = (words.value(estimate, question.unit) for estimate in shown)
    return (words.what(question), *values, words.change(question, each.together), said)
