from __future__ import annotations

import base64
import json
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtests.results import histograms
from loadtests.results.files import BadResult, read, write
from loadtests.results.histograms import BadHistogram, lower_edges, read_histograms
from loadtests.results.schema import SCHEMA, Result
from tests.loadtests.invented import histogram, made_result, made_row, made_run, made_slice

TEXT = st.text(max_size=20)
FREE: Any = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


def small() -> Result:
    return made_result([made_row(runs=[made_run(np.random.default_rng(1), slices=2, answers=5)])])


@pytest.fixture
def changed(tmp_path: Path) -> Callable[[Callable[[Any], object]], Path]:
    """A result file after something was done to its JSON."""

    def change(how: Callable[[Any], object]) -> Path:
        document = msgspec.to_builtins(small())
        how(document)
        file = tmp_path / "changed.json"
        file.write_text(json.dumps(document))
        return file

    return change


@settings(max_examples=40, deadline=None)
@given(
    values_us=st.lists(st.integers(1, 3_600_000_000), max_size=20),
    failures=st.dictionaries(TEXT, st.integers(0, 2**40), max_size=3),
    scenario=st.dictionaries(TEXT, FREE, max_size=3),
    name=TEXT,
)
def test_what_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, values_us: list[int], failures: Any, scenario: Any, name: str
) -> None:
    slices = (made_slice(0.5, values_us, failures=failures),)
    run = msgspec.structs.replace(made_run(np.random.default_rng(1), slices=1), slices=slices)
    result = made_result([made_row(runs=[run])], scenario=scenario, name=name)
    folder = tmp_path_factory.mktemp("results")

    file = write(result, folder)

    assert file.parent == folder
    assert read(file) == result
    assert [each.name for each in folder.iterdir()] == [file.name], "nothing half-written is left"


@given(st.lists(st.integers(1, 3_600_000_000), max_size=50))
def test_a_histogram_is_read_as_its_own_library_reads_it(values_us: list[int]) -> None:
    (entries,) = read_histograms([histogram(values_us)])

    read_us = np.repeat(lower_edges(entries.buckets), entries.counts)
    assert read_us == pytest.approx(sorted(values_us), rel=1e-3)


def test_of_two_results_of_one_second_both_stay(tmp_path: Path) -> None:
    files = [write(small(), tmp_path) for _ in range(2)]

    assert sorted(tmp_path.iterdir()) == sorted(set(files))
    assert len(set(files)) == 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not JSON"),
        (b"\x89PNG\r\n", "not JSON"),
        (b"[1, 2]", "names no schema"),
        (b'{"a": 1}', "names no schema"),
        (b'{"schema": "1"}', "names no schema"),
        (b'{"schema": %d}' % (SCHEMA - 1), "older schema.*run the scenario again"),
        (b'{"schema": %d}' % (SCHEMA + 1), "newer schema.*update Torii"),
        (b'{"schema": 1' + b"0" * 5000 + b"}", "is no result|not JSON|names no schema|newer schema"),
        (b'{"schema": %d}' % SCHEMA, "not a result of `torii loadtest run`"),
        (b'{"schema": ' + b"[" * 100_000, "not JSON|names no schema|cut off"),
    ],
)
def test_what_is_no_result_is_refused_and_said(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "some.json"
    file.write_bytes(content)

    with pytest.raises(BadResult, match=said):
        read(file)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_file_that_is_cut_off_is_said_to_be(tmp_path: Path, share: float) -> None:
    file = write(small(), tmp_path)
    whole = file.read_bytes()
    file.write_bytes(whole[: int(share * len(whole))])

    with pytest.raises(BadResult, match=r"cut off after [\d,]+ bytes; copy it again"):
        read(file)


def test_what_is_no_file_is_said_to_be_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(BadResult, match="is not a file"):
        read(tmp_path / "fifo")
    with pytest.raises(BadResult, match="Is a directory"):
        read(tmp_path)
    with pytest.raises(BadResult, match="No such file"):
        read(tmp_path / "none.json")


def _answers(document: Any) -> Any:
    return document["rows"][0]["runs"][0]["slices"][0]["answers"]["digits/1@tflite"]


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (lambda it: _answers(it).update(succeeded=6), "a slice with 6 answers has 5 in its histogram"),
        (lambda it: _answers(it).update(service=histogram([5] * 4)), "4 in that of service"),
        (lambda it: _answers(it).update(latency="AAAA"), "not an HdrHistogram"),
        (lambda it: _answers(it).update(latency=histogram([1])[:-8]), "HdrHistogram|histogram"),
        (lambda it: _answers(it).update(succeeded=2**60), "succeeded|: 1152921504606846976 in a slice"),
        (lambda it: _answers(it).update(succeeded=10**400), "Integer|int|not a result|in a slice"),
        (lambda it: it["rows"][0]["runs"][0]["slices"][0].update(end_s=-1), "a slice from"),
        (lambda it: it["rows"][0]["runs"][0].update(warm_up_s=1e300), "warm_up_s"),
        (lambda it: it["rows"][0]["runs"][0].update(slices=None), "Expected `array`, got `null`"),
        (lambda it: it["rows"][0]["runs"][0]["slices"][0].update(level=float("nan")), "not JSON"),
        (lambda it: it["rows"][0]["runs"][0]["slices"][0].update(level=float("inf")), "not JSON"),
        (lambda it: it["rows"][0]["runs"][0]["slices"][0]["failures"].update(timeout=-1), "timeout: -1 in a slice"),
        (lambda it: it.update(scenario={"a": "x" * 2**21}), "settings of more than"),
        (lambda it: it["machine"].update(gpus=[{}] * 2**19), "settings of more than"),
    ],
)
def test_numbers_that_cannot_be_are_refused(
    changed: Callable[[Callable[[Any], object]], Path], how: Callable[[Any], object], said: str
) -> None:
    with pytest.raises(BadResult, match=said):
        read(changed(how))


def test_settings_nested_deep_are_refused(changed: Callable[[Callable[[Any], object]], Path]) -> None:
    deep: Any = 1
    for _ in range(300):
        deep = [deep]

    with pytest.raises(BadResult, match="nested deeper than 100 levels"):
        read(changed(lambda it: it.update(scenario={"a": deep})))


def _packed(counts: bytes, named: int | None = None) -> str:
    inner = (0x1C849313).to_bytes(4, "big") + (len(counts) if named is None else named).to_bytes(4, "big")
    inner += (0).to_bytes(4, "big") + (3).to_bytes(4, "big") + (1).to_bytes(8, "big")
    inner += (3_600_000_000).to_bytes(8, "big") + b"\x3f\xf0" + b"\0" * 6 + counts
    body = zlib.compress(inner, 9)
    return base64.b64encode((0x1C849314).to_bytes(4, "big") + len(body).to_bytes(4, "big") + body).decode()


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        (b"\0" * 2**24, "cut off, or more than there can be"),
        (b"\x02" * 30_000, "more than 23552 buckets"),
        (b"\x02\x80", "last count is cut off"),
        (b"\xfe\xff\xff\xff\xff\xff\xff\x7f", "counts that cannot be"),
        (b"\0", "counts that cannot be"),
    ],
)
def test_a_histogram_that_unpacks_to_more_than_there_can_be_is_refused(counts: bytes, said: str) -> None:
    with pytest.raises(BadHistogram, match=said):
        list(read_histograms([_packed(counts)]))


def test_many_small_histograms_that_unpack_to_much_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    empty = _packed(b"\x01" * 23_551 + b"\x02")
    assert len(empty) < 200
    monkeypatch.setattr(histograms, "_MOST_UNPACKED", 2**20)

    with pytest.raises(BadHistogram, match="more than 1 MiB in all"):
        list(read_histograms([empty] * 45))
    assert list(read_histograms([empty] * 40))


def test_histograms_of_more_values_than_can_be_kept_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    full = _packed(b"\x02" * 20_000)
    monkeypatch.setattr(histograms, "_MOST_ENTRIES", 50_000)

    with pytest.raises(BadHistogram, match="more than 50,000 different values in all"):
        list(read_histograms([full] * 3))
    assert list(read_histograms([full] * 2))


def test_a_slice_that_was_to_end_with_the_warm_up_is_of_it() -> None:
    run = made_run(np.random.default_rng(1), slices=4)
    late = tuple(msgspec.structs.replace(each, end_s=each.end_s + 0.001) for each in run.slices)

    measured = msgspec.structs.replace(run, slices=late, warm_up_s=0.5).measured

    assert measured == late[2:]
