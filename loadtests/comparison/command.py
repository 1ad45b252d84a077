"""`compare` on the command line, and the gate for continuous integration."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from loadtests.comparison import writing
from loadtests.comparison.judging import Answer, Gate, answers, gate, questions
from loadtests.comparison.matching import Matched, NotComparable, Source, between, within
from loadtests.comparison.words import sentence, side
from loadtests.results.files import BadResult, read

_WORSE: Final = 1
_UNUSABLE: Final = 2
_WIDTH: Final = 120
_UNDECIDED: Final = (
    "{} of {} undecided: by more than the limit or not. To decide, run both with more rounds (--rounds 10) or longer "
    "(--seconds), on a machine that does nothing else{}"
)
_SHARE: Final = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,6})?)\s*(%?)")


def register(app: typer.Typer) -> None:
    """Add the command `compare`."""
    app.command(
        epilog="Examples:  torii loadtest compare before.json after.json --fail-over 5%   |   "
        "torii loadtest compare --rows frameworks.json   |   "
        "torii loadtest compare a.json b.json c.json --baseline b.json --markdown"
    )(compare)


def compare(  # noqa: PLR0913  # one option each
    results: Annotated[list[Path], typer.Argument(metavar="RESULT…", help="Result files; the first is the baseline")],
    rows: Annotated[bool, typer.Option("--rows", help="Compare the rows of one result with its first")] = False,
    baseline: Annotated[Path | None, typer.Option(metavar="RESULT", help="Which of the files is the baseline")] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="p50, p99.9, throughput, errors; repeatable; else those that matter mostly"),
    ] = None,
    margin: Annotated[
        str, typer.Option(metavar="PERCENT", help="Call it faster or slower only beyond this difference")
    ] = "0%",
    fail_over: Annotated[
        str | None,
        typer.Option(metavar="PERCENT", help="Exit 1 where something is slower by more than this with confidence"),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="With --fail-over: undecided fails too")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print all numbers as JSON")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown for a pull request")] = False,
) -> None:
    """Which result is faster, which slower, by how much, and what cannot be told: at 95 %.

    Exit status: 0; 1 where --fail-over says so; 2 where the results cannot be read or compared.
    """
    try:
        limit = share(fail_over, "--fail-over") if fail_over is not None else None
        if strict and limit is None:
            raise ValueError("--strict says what --fail-over does with what is undecided; give --fail-over 5% as well")
        matched = _matched(results, rows, baseline)
        asked = list(questions(matched.pairs, metric))
        found = answers(asked, share(margin, "--margin"))
        gates = gate(asked, limit) if limit is not None else None
    except (BadResult, NotComparable, ValueError) as error:
        print(f"compare: {error}", file=sys.stderr)
        raise typer.Exit(_UNUSABLE) from None
    if json:
        print(writing.as_json(matched, found, gates).decode())
    elif markdown:
        print(writing.as_markdown(matched, found), end="")
    else:
        writing.show(Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH), matched, found)
    if gates is not None:
        raise typer.Exit(_told(matched, found, gates, strict))


def share(text: str, option: str) -> float:
    """`5%`, `5 %` or `0.05` as 0.05.

    Raises:
        ValueError: It is neither, or not below 100 %.
    """
    match = _SHARE.fullmatch(text.strip())
    value = float(match[1]) / (100 if match[2] else 1) if match else 1.0
    if value >= 1:
        raise ValueError(f"{option}: expected a share below 100 %, as 5% or 0.05; got {text[:40]!r}")
    return value


def _matched(results: Sequence[Path], rows: bool, baseline: Path | None) -> Matched:
    sources = [Source(name, read(path)) for name, path in zip(_names(results), results, strict=True)]
    if rows:
        if len(sources) != 1 or baseline:
            raise NotComparable(f"--rows compares the rows of one result; got {len(sources)} files, or a --baseline")
        return within(sources[0])
    if len(sources) < 2:
        raise NotComparable("expected two results or more, or --rows with one; got one")
    if baseline is not None and baseline not in results:
        raise NotComparable(f"--baseline {baseline}: expected one of the files that are compared")
    first = sources[results.index(baseline) if baseline is not None else 0]
    return between(first, [source for source in sources if source is not first])


def _names(results: Sequence[Path]) -> list[str]:
    """As short as they can be told apart."""
    short = [path.name for path in results]
    return short if len(set(short)) == len(short) else [str(path) for path in results]


def _told(matched: Matched, found: Sequence[Answer], gates: Sequence[Gate], strict: bool) -> int:
    """Say what fails and what is undecided; the exit status."""
    for line in matched.lost:
        print(f"measured before, and not now: {line}", file=sys.stderr)
    for each, state in zip(found, gates, strict=True):
        if state == "worse":
            who = side(each.question.pair.ours, each.question.pair.ours.source is not each.question.pair.theirs.source)
            print(f"worse by more than the limit: {who}: {sentence(each)}", file=sys.stderr)
    if not gates:
        print("nothing was measured on both sides", file=sys.stderr)
    if open_ones := gates.count("undecided"):
        hint = "" if strict else "; it fails with --strict only"
        print(_UNDECIDED.format(open_ones, len(gates), hint), file=sys.stderr)
    failing = {"worse", "undecided"} if strict else {"worse"}
    return _WORSE if matched.lost or failing & set(gates) or (strict and not gates) else 0
