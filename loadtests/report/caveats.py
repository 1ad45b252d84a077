"""What to keep in mind about results: marks, few answers, one round, other machines; each once, with what it is of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from loadtests.report.content import Content, Stretch
from loadtests.results.text import plain

_FEW = 1000
_NAMED = 4


def caveats(content: Content, apart: bool) -> Iterator[str]:
    """Sentences; `apart`: things are compared that were not measured in turns."""
    machines = {source.result.machine.name for source in content.sources}
    if len(machines) > 1:
        yield (
            f"{len(machines)} machines ({listed(sorted(map(plain, machines)))}): a difference between them is one of "
            "CPU, system, limits and versions together, not of any one of these."
        )
    if apart:
        yield (
            "Some of what is compared was not measured in turns: what changed on the machine in between is in the "
            "difference."
        )
    modified = [plain(source.name) for source in content.sources if source.result.git.get("modified")]
    if modified:
        yield f"The code was modified, so the revision does not say what was measured: {listed(modified)}."
    yield from _marks(content)
    yield from _of_some(content, lambda each: each.answered < _FEW, f"fewer than {_FEW:,} answers, few for a p99")
    yield from _of_some(
        content,
        lambda each: len(each.runs) == 1,
        "one round, so what the machine does at other times is in no interval",
    )


def kinds(each: Stretch) -> str:
    """`busy machine`: what its marks are about, without their numbers."""
    return ", ".join(dict.fromkeys(_kind(mark) for run in each.runs for mark in run.marks))


def listed(names: Sequence[str]) -> str:
    """The first of them, and how many more."""
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def _marks(content: Content) -> Iterator[str]:
    """Marks by their kind, since numbers in them differ; of runs, only what is not said of their whole result."""
    found: dict[str, dict[str, str]] = {}
    for source in content.sources:
        for mark in map(plain, source.result.marks):
            found.setdefault(_kind(mark), {})[plain(source.name)] = mark
    for each in content.stretches:
        said = set(map(_kind, each.side.source.result.marks))
        for mark in (plain(mark) for run in each.runs for mark in run.marks):
            if _kind(mark) not in said:
                found.setdefault(_kind(mark), {}).setdefault(_titled(each), mark)
    for of_kind in found.values():
        first = next(iter(of_kind.values()))
        others = " (or similar)" if len(set(of_kind.values())) > 1 else ""
        yield f"{first[:1].upper()}{first[1:]}{others}: {listed(list(of_kind))}."


def _kind(mark: str) -> str:
    return plain(mark, 80).partition(":")[0]


def _of_some(content: Content, holds: Callable[[Stretch], bool], what: str) -> Iterator[str]:
    names = [_titled(each) for each in content.measured if holds(each)]
    if names:
        whose = "All numbers come" if len(names) == len(content.measured) else f"Numbers of {listed(names)} come"
        yield f"{whose} from {what}."


def _titled(each: Stretch) -> str:
    return f"{each.name} at {each.level}" if each.level else each.name
