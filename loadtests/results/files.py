"""Result files: written whole or not at all, and read with mistrust, since they may come from anybody."""

from __future__ import annotations

import os
import re
import stat
import tempfile
from collections.abc import Iterator
from itertools import chain, count
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from loadtests.results.histograms import BadHistogram, read_histograms
from loadtests.results.schema import SCHEMA, Result, Run, Slice

_MOST_BYTES: Final = 64 * 2**20
_MOST_FREE_BYTES: Final = 2**20
_MOST_RUNS: Final = 10_000
_DEEPEST: Final = 100
_MOST_COUNT: Final = 2**48


class BadResult(Exception):
    """A file that is no result, or not one that this version reads; says which, and what to do."""


class _Version(msgspec.Struct):
    schema: int


class _FreeRow(msgspec.Struct):
    settings: msgspec.Raw


class _Free(msgspec.Struct):
    """The parts of a file that may hold anything, unread."""

    scenario: msgspec.Raw
    git: msgspec.Raw
    models: msgspec.Raw
    machine: msgspec.Raw
    rows: list[_FreeRow]


def write(result: Result, folder: Path) -> Path:
    """Write `<folder>/<scenario>-<date>T<time>.json`, and make the folder where it is missing; returns the file."""
    folder.mkdir(parents=True, exist_ok=True)
    when = re.sub(r"[^0-9T]", "", result.made.partition("+")[0].partition(".")[0])
    scenario = re.sub(r"[^A-Za-z0-9._-]+", "-", result.name).strip(".-") or "result"
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".", suffix=".part", delete=False) as file:
        part = Path(file.name)
        try:
            file.write(msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")
            file.flush()
            os.fsync(file.fileno())
            part.chmod(0o644)
            return part.rename(_free_name(folder, f"{scenario}-{when}"))
        finally:
            part.unlink(missing_ok=True)


def read(path: Path) -> Result:
    """Read a result.

    Raises:
        BadResult: It is none, cut off, of another schema, larger than a result can be, or cannot be read.
    """
    data = _bytes(path)
    _check_schema(path, data)
    try:
        free = msgspec.json.decode(data, type=_Free)
        parts = (free.scenario, free.git, free.models, free.machine, *(row.settings for row in free.rows))
        if sum(len(memoryview(part)) for part in parts) > _MOST_FREE_BYTES:
            raise BadResult(f"{path}: settings of more than {_MOST_FREE_BYTES:,} bytes; no run of ours writes that")
        result = msgspec.json.decode(data, type=Result)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadResult(f"{path} is not a result of `torii loadtest run`: {error}") from None
    if _deep([result.scenario, result.git, *(row.settings for row in result.rows)]):
        raise BadResult(f"{path}: settings nested deeper than {_DEEPEST} levels; no run of ours writes that")
    _check(path, result)
    return result


def _deep(value: Any) -> bool:
    """Whether it is nested so deep that comparing or printing it would fail."""
    level = [value]
    for _ in range(_DEEPEST):
        level = [
            inner
            for each in level
            if isinstance(each, (dict, list))
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
    return bool(level)


def _free_name(folder: Path, name: str) -> Path:
    """A name that no file has: of two runs within a second, both stay."""
    names = chain((f"{name}.json",), (f"{name}-{number}.json" for number in count(2)))
    return next(folder / each for each in names if not (folder / each).exists())


def _bytes(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise BadResult(f"{path} is not a file; give a result file (.json) that `torii loadtest run` wrote")
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise BadResult(f"{path} cannot be read: {error.strerror}") from None
    if len(data) > _MOST_BYTES:
        raise BadResult(f"{path} is larger than {_MOST_BYTES >> 20} MiB, and no result is; was it exchanged?")
    return data


def _check_schema(path: Path, data: bytes) -> None:
    try:
        schema = msgspec.json.decode(data, type=_Version).schema
    except msgspec.ValidationError:
        raise BadResult(f"{path} is JSON, but not a result of `torii loadtest run`: it names no schema") from None
    except (msgspec.DecodeError, RecursionError) as error:
        if data.lstrip()[:1] == b"{" and "truncated" in str(error):
            raise BadResult(f"{path} is cut off after {len(data):,} bytes; copy it again, or run again") from None
        raise BadResult(f"{path} is not JSON, so it is no result of `torii loadtest run`: {error}") from None
    if schema < SCHEMA:
        raise BadResult(
            f"{path} has the older schema {schema}, and this version reads {SCHEMA}; run the scenario again"
        )
    if schema > SCHEMA:
        raise BadResult(
            f"{path} has the newer schema {schema}, and this version reads {SCHEMA}; update Torii to read it"
        )


def _check(path: Path, result: Result) -> None:
    """Whether the numbers can be true: what decoding cannot know."""
    runs = [run for row in result.rows for run in row.runs]
    if len(runs) > _MOST_RUNS:
        raise BadResult(f"{path} has {len(runs):,} runs; no scenario has more than {_MOST_RUNS:,}")
    for run in runs:
        if wrong := _impossible(run):
            raise BadResult(f"{path}, run of {run.began[:40]}: {wrong}; the file was damaged or changed")
    answers = [each for run in runs for slice_ in run.slices for each in slice_.answers.values()]
    histograms = list(chain.from_iterable((each.latency, each.service) for each in answers))
    counted = np.zeros(len(histograms), np.int64)
    try:
        for entries in read_histograms(histograms):
            np.add.at(counted, entries.owners, entries.counts)
    except BadHistogram as error:
        raise BadResult(f"{path}: {error}; the file was damaged or changed") from None
    for index, each in enumerate(answers):
        if {counted[2 * index], counted[2 * index + 1]} != {each.succeeded}:
            raise BadResult(
                f"{path}: a slice with {each.succeeded} answers has {counted[2 * index]} in its histogram of latency "
                f"and {counted[2 * index + 1]} in that of service; the file was damaged or changed"
            )


def _impossible(run: Run) -> str:
    """What cannot be in a run's numbers; empty: all of it can."""
    for each in run.slices:
        if not 0 <= each.begin_s <= each.end_s < 1e9:
            return f"a slice from {each.begin_s} to {each.end_s} s"
        for name, number in _counts(each):
            if not 0 <= number <= _MOST_COUNT:
                return f"{name[:40]}: {number} in a slice"
    return "" if 0 <= run.warm_up_s < 1e9 else f"warm_up_s: {run.warm_up_s}"


def _counts(each: Slice) -> Iterator[tuple[str, int]]:
    yield from (("sent", each.sent), ("waiting", each.waiting), ("under_way", each.under_way))
    yield from each.failures.items()
    yield from ((name, answers.succeeded) for name, answers in each.answers.items())
