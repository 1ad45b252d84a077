"""Which variant a request gets: the same for a unit wherever it comes from, as many as the weights say."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tracemalloc
from collections import Counter
from math import sqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2_contingency, kstest

from adapters.errors import DeadlineExceeded, InferenceFailed, InvalidInput
from gateway.errors import NotAllowed, Overloaded, RequestTooLarge, Unsupported, VersionNotReady
from gateway.experiments import assignment
from gateway.experiments.assignment import Assigner, Unit, hash_unit
from gateway.experiments.evidence import CLUSTERS
from gateway.experiments.recording import Notes
from gateway.experiments.slots import allocate, reallocate
from gateway.experiments.tokens import read_token
from gateway.types import BY_CHANCE, SLOTS, Caller
from tests.gateway.experiments.splits import UNIT, From, split

UNITS = 100_000
SPECIMENS = {
    ("m/x", b"alice"): Unit(319_880, 7_201_198_936_950_019_050),
    ("m/x", b"bob"): Unit(873_092, 4_728_657_400_097_056_043),
    ("m/y", b"alice"): Unit(991_860, 7_927_265_273_909_641_936),
    ("", b""): Unit(6_628, 7_067_277_494_046_954_878),
}


def assigner(**changes: Any) -> Assigner:
    return Assigner(Notes("m", split(**changes)))


def arm(assigner: Assigner, caller: Caller | None = None, /, **parameters: Any) -> str:
    return assigner.assign(caller, parameters).arm.arm.name


def arms(assigner: Assigner, count: int = 1000) -> list[str]:
    return [arm(assigner, From(torii_unit=f"user-{number}")) for number in range(count)]


# What the hash is.


@pytest.mark.parametrize(("given", "unit"), SPECIMENS.items())
def test_hashes_are_what_they_were_in_every_release(given: tuple[str, bytes], unit: Unit) -> None:
    assert hash_unit(*given) == unit


@given(st.text(max_size=20), st.binary(max_size=200))
def test_an_assigner_puts_a_unit_where_its_hash_says(salt: str, unit: bytes) -> None:
    notes = Notes("m", split({"a": 20, "b": 30, "c": 50}, salt=salt))
    placed = hash_unit(salt, unit)
    assert 0 <= placed.slot < SLOTS
    assert 0 <= placed.number < BY_CHANCE
    got = Assigner(notes).assign(From(torii_unit=unit or b"?"), {})
    if unit:
        assert got.arm.arm.name == ("a" if placed.slot < 200_000 else "b" if placed.slot < 500_000 else "c")
        assert notes.arms[got.arm.index].take()[0].units == placed.number.to_bytes(8, "little")


def test_a_slot_at_the_end_of_a_range_belongs_to_the_next() -> None:
    edge = hash_unit("m/x", b"alice").slot
    one = assigner(slots=((edge, "a"), (SLOTS, "b")))
    other = assigner(slots=((edge + 1, "a"), (SLOTS, "b")))
    assert (arm(one, From(torii_unit="alice")), arm(other, From(torii_unit="alice"))) == ("b", "a")


def test_another_process_assigns_alike() -> None:
    told = subprocess.run(
        [sys.executable, "-c", _ELSEWHERE], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "7"}
    )
    here = [arm(assigner(weights={"a": 40, "b": 60}), From(torii_unit=f"user-{number}")) for number in range(500)]
    assert json.loads(told.stdout) == here


_ELSEWHERE = """
import json
from tests.gateway.experiments.splits import From, split
from gateway.experiments.assignment import Assigner
from gateway.experiments.recording import Notes
assigner = Assigner(Notes("m", split({"a": 40, "b": 60})))
print(json.dumps([assigner.assign(From(torii_unit=f"user-{n}"), {}).arm.arm.name for n in range(500)]))
"""


# Where the unit comes from.


@given(st.text(min_size=1, max_size=40).filter(lambda text: text.isascii() and text.isprintable() and ";" not in text))
def test_a_unit_gets_the_same_by_header_parameter_and_cookie(unit: str) -> None:
    unit = unit.strip(' "') or "u"
    notes = Notes("m", split(units=(UNIT, ("parameter", "unit"), ("cookie", "session"))))
    given = Assigner(notes)
    got = [
        given.assign(From(torii_unit=unit), {}),
        given.assign(None, {"unit": unit}),
        given.assign(From(), {"unit": unit}),
        given.assign(From(cookie=f'a=b; session="{unit}"; c=d'), {}),
    ]
    assert len({each.arm.arm.name for each in got}) == 1
    assert len({each.arm.take()[0].units[:8] for each in got[:1]}) == 1


def test_the_first_source_that_a_request_has_counts() -> None:
    by_header = assigner(units=(("header", "torii-unit"), ("parameter", "unit")))
    by_parameter = assigner(units=(("parameter", "unit"), ("header", "torii-unit")))
    for number in range(50):
        caller, parameters = From(torii_unit=f"h{number}"), {"unit": f"p{number}"}
        assert arm(by_header, caller, **parameters) == arm(by_header, caller)
        assert arm(by_parameter, caller, **parameters) == arm(by_parameter, **parameters)


@pytest.mark.parametrize(
    ("value", "written"), [(5, "5"), (-7, "-7"), (2.5, "2.5"), (True, "true"), (False, "false"), ("x", "x")]
)
def test_a_number_is_the_unit_that_its_text_is(value: object, written: str) -> None:
    notes = Notes("m", split({"a": 100}))
    given = Assigner(notes)
    given.assign(None, {"unit": value})
    given.assign(From(torii_unit=written), {})
    one, other = np.frombuffer(notes.arms[0].take()[0].units, np.uint64)
    assert one == other


@pytest.mark.parametrize("value", ["", None, [], {}, [1], {"a": 1}])
@pytest.mark.parametrize("header", ["", None])
def test_what_is_no_unit_is_assigned_by_itself(value: object, header: str | None) -> None:
    notes = Notes("m", split())
    given = Assigner(notes)
    caller = From(torii_unit=header) if header is not None else None
    names = Counter(given.assign(caller, {"unit": value}).arm.arm.name for _ in range(400))
    assert set(names) == {"a", "b"}
    units = np.concatenate([np.frombuffer(each.take()[0].units, np.uint64) for each in notes.arms])
    assert len(set(units.tolist())) == 400
    assert (units >= BY_CHANCE).all()


def test_without_sources_a_unit_that_comes_does_not_matter() -> None:
    given = assigner(units=())
    assert {arm(given, From(torii_unit="alice"), unit="alice") for _ in range(100)} == {"a", "b"}


@pytest.mark.parametrize(
    ("header", "unit"),
    [
        ("session=alice", "alice"),
        ("a=1; session=alice; b=2", "alice"),
        ('session="alice"', "alice"),
        ("session=ali=ce", "ali=ce"),
        ("xsession=bob; session=alice", "alice"),
        ("session=alice;session=bob", "alice"),
        ("Session=alice", None),
        ("session", None),
        ("session=", None),
        ("", None),
        (";;=;", None),
    ],
)
def test_a_cookie_is_read_by_its_name(header: str, unit: str | None) -> None:
    notes = Notes("m", split({"a": 100}, units=(("cookie", "session"),)))
    Assigner(notes).assign(From(cookie=header), {})
    (number,) = np.frombuffer(notes.arms[0].take()[0].units, np.uint64).tolist()
    assert number == hash_unit("m/x", unit.encode()).number if unit else number >= BY_CHANCE


# How many get what.


def test_shares_are_those_of_the_weights() -> None:
    found = Counter(arms(assigner(weights={"a": 90, "b": 10}), UNITS))
    assert abs(found["b"] - 0.1 * UNITS) < 4 * sqrt(UNITS * 0.1 * 0.9)


def test_shares_are_those_of_the_weights_without_units() -> None:
    given = assigner(weights={"a": 90, "b": 10})
    found = Counter(arm(given) for _ in range(UNITS))
    assert abs(found["b"] - 0.1 * UNITS) < 4.5 * sqrt(UNITS * 0.1 * 0.9)


def test_units_lie_evenly_in_the_slots() -> None:
    slots = [hash_unit("m/x", b"user-%d" % number).slot / SLOTS for number in range(20_000)]
    assert kstest(slots, "uniform").pvalue > 0.001


def independent(one: list[int] | list[str], other: list[int] | list[str]) -> bool:
    """Whether nothing speaks against it (chi-square)."""
    counts = Counter(zip(one, other, strict=True))
    table = [[counts[row, column] for column in sorted(set(other))] for row in sorted(set(one))]
    return bool(chi2_contingency(table).pvalue > 0.001)


def test_two_experiments_split_units_independently() -> None:
    one = arms(assigner(weights={"a": 30, "b": 70}), 20_000)
    assert independent(one, arms(assigner(weights={"a": 30, "b": 70}, salt="m/y"), 20_000))
    assert not independent(one, arms(assigner(weights={"a": 40, "b": 60}), 20_000))


def test_the_cluster_of_a_unit_says_nothing_of_its_variant() -> None:
    units = [hash_unit("m/x", b"user-%d" % number) for number in range(50_000)]
    tenths = [unit.slot * 10 // SLOTS for unit in units]
    assert independent(tenths, [unit.number % CLUSTERS for unit in units])
    assert independent(tenths, [unit.number >> 55 for unit in units])


@pytest.mark.parametrize(
    ("before", "after"),
    [({"a": 90, "b": 10}, {"a": 50, "b": 50}), ({"a": 50, "b": 50}, {"a": 40, "b": 30, "c": 30}),
     ({"a": 40, "b": 30, "c": 30}, {"a": 70, "c": 30})],
)  # fmt: skip
def test_other_weights_move_only_the_units_that_must_move(before: dict[str, float], after: dict[str, float]) -> None:
    slots = allocate(before)
    one = arms(assigner(weights=before, slots=slots), 20_000)
    other = arms(assigner(weights=after, slots=reallocate(slots, after)), 20_000)
    grows = {name for name, weight in after.items() if weight > before.get(name, 0)}
    moved = [(was, becomes) for was, becomes in zip(one, other, strict=True) if was != becomes]
    distance = sum(max(weight - before.get(name, 0), 0) for name, weight in after.items()) / 100
    assert {becomes for _, becomes in moved} == grows
    assert abs(len(moved) - distance * 20_000) < 4 * sqrt(20_000 * 0.25)


# Who takes part, and who chooses.


@pytest.mark.parametrize(
    ("caller", "takes"),
    [(From(x_country="de"), True), (From(x_country="fr"), False), (From(), False), (None, False),
     (From(x_country="DE"), False), (From(x_country="de "), False)],
)  # fmt: skip
def test_a_filter_by_header_wants_its_very_value(caller: Caller | None, takes: bool) -> None:
    assert assigner(headers={"x-country": "de"}).takes(caller, {}) is takes


@pytest.mark.parametrize("wanted", ["gold", 1, 1.0, True, 0, False])
@pytest.mark.parametrize("given", ["gold", "1", 1, 1.0, True, 0, 0.0, False, None, [1], {}])
def test_a_filter_by_parameter_wants_its_very_type(wanted: Any, given: Any) -> None:
    takes = assigner(parameters={"tier": wanted}).takes(None, {"tier": given})
    assert takes is (type(wanted) is type(given) and wanted == given)


def test_a_filter_wants_all_that_it_names() -> None:
    given = assigner(headers={"a": "1", "b": "2"}, parameters={"c": "3"})
    assert given.takes(From(a="1", b="2"), {"c": "3"})
    assert not given.takes(From(a="1"), {"c": "3"})
    assert not given.takes(From(a="1", b="2"), {})


def test_where_it_may_a_header_chooses_and_that_is_no_evidence() -> None:
    notes = Notes("m", split({"a": 100, "b": 0}, overrides=True, token_key=b"k"))
    chosen = Assigner(notes).assign(From(torii_variant="b", torii_unit="alice"), {})
    chosen.answered(1000, {})
    chosen.failed(InferenceFailed("no"))
    assert chosen.arm.arm.name == "b"
    assert dict(chosen.headers()) == {"torii-experiment": "m/x", "torii-variant": "b"}
    assert notes.take() == []


@pytest.mark.parametrize("name", ["c", "", "A", "a,b", "\x00", "a" * 100_000])
def test_a_variant_that_there_is_not_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="torii-variant: expected one of a, b, got") as refused:
        assigner(overrides=True).assign(From(torii_variant=name), {})
    assert len(str(refused.value)) < 200


def test_where_it_may_not_the_header_does_nothing() -> None:
    assert {arm(assigner(weights={"a": 100, "b": 0}), From(torii_variant=name)) for name in "abc"} == {"a"}


def test_a_tester_always_gets_its_variant_and_that_is_no_evidence() -> None:
    notes = Notes("m", split({"a": 100, "b": 0}, testers={"alice": 1}))
    given = Assigner(notes)
    for assigned in (given.assign(From(torii_unit="alice"), {}), given.assign(None, {"unit": "alice"})):
        assigned.answered(1000, {})
        assert assigned.arm.arm.name == "b"
    assert notes.take() == []
    assert arm(given, From(torii_unit="alic")) == "a"


# What callers are told.


def test_callers_are_told_of_experiment_and_variant() -> None:
    assigned = assigner(weights={"a": 100}).assign(None, {})
    assert assigned.headers() == (("torii-experiment", "m/x"), ("torii-variant", "a"))
    assert assigned.parameters() == {"experiment": "m/x", "variant": "a"}


def test_where_outcomes_are_awaited_a_request_has_an_id_that_names_its_unit_and_variant() -> None:
    notes = Notes("m", split({"a": 0, "b": 100}, token_key=b"k", epoch=4, run=2))
    assigned = Assigner(notes).assign(From(torii_unit="alice"), {})
    headers, parameters = dict(assigned.headers()), assigned.parameters()
    assert headers["torii-request-id"] == parameters["request_id"]
    token = read_token(b"k", parameters["request_id"])
    assert token is not None
    assert (token.run_hash, token.arm, token.epoch) == (notes.run_hash, 1, 4)
    assert token.number == hash_unit("m/x", b"alice").number


# What counts.


@pytest.mark.parametrize(
    "error", [InferenceFailed("x"), DeadlineExceeded("x"), Overloaded("x", 1), VersionNotReady("x"), TimeoutError(),
              RuntimeError("x")]
)  # fmt: skip
def test_an_error_of_the_variant_counts(error: Exception) -> None:
    notes = Notes("m", split({"a": 100}))
    Assigner(notes).assign(None, {}).failed(error)
    assert np.frombuffer(notes.take()[0].arms["a"].failed, np.int64).sum() == 1


@pytest.mark.parametrize(
    "error", [InvalidInput("x"), Unsupported("x"), NotAllowed("x"), RequestTooLarge("x"), KeyboardInterrupt(),
              asyncio.CancelledError()]
)  # fmt: skip
def test_a_mistake_of_the_caller_and_its_hanging_up_do_not(error: BaseException) -> None:
    notes = Notes("m", split({"a": 100}))
    Assigner(notes).assign(None, {}).failed(error)
    assert np.frombuffer(notes.take()[0].arms["a"].failed, np.int64).sum() == 0


# What hostile callers send.


HOSTILE = (
    *(b"", b"\x00", b"\xff\xfe\x80", b"a\x00b", b"=;,\"'", b"\r\n"),
    *("\ud800".encode("utf-8", "surrogatepass"), b"x" * (1 << 20)),
)


@pytest.mark.parametrize("unit", HOSTILE, ids=lambda unit: repr(unit[:8]))
def test_no_unit_breaks_anything(unit: bytes) -> None:
    given = assigner(units=(UNIT, ("cookie", "c"), ("parameter", "unit")))
    text = unit.decode("utf-8", "surrogatepass") if unit[:1] != b"\xff" else "\udcff"
    for caller in (From(torii_unit=unit), From(cookie=unit), From(cookie=b"c=" + unit)):
        assert arm(given, caller) in ("a", "b")
    assert arm(given, unit=text) in ("a", "b")


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), st.lists))
def test_no_parameter_breaks_anything(value: object) -> None:
    assert arm(assigner(), unit=value) in ("a", "b")


def test_nesting_that_has_no_end_breaks_nothing() -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    assert arm(assigner(), unit=value) in ("a", "b")
    while value:  # or freeing it recurses
        value = value.pop()


def test_fresh_units_without_end_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assignment, "_KNOWN", 1000)
    notes = Notes("m", split())
    given = Assigner(notes)
    tracemalloc.start()
    try:
        for number in range(20_000):
            given.assign(From(torii_unit=b"%060d" % number), {})
            if number == 5000:
                notes.take()
                before, _ = tracemalloc.get_traced_memory()
                tracemalloc.reset_peak()
        notes.take()
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 300_000
    assert peak - before < 1_500_000


def test_long_units_are_not_remembered() -> None:
    given = assigner()
    for number in range(100):
        given.assign(From(torii_unit=b"x" * 100_000 + b"%d" % number), {})
    assert sum(map(len, given._known)) == 0


def test_a_unit_that_is_remembered_gets_what_it_got() -> None:
    given = assigner()
    assert arms(given, 200) == arms(given, 200) == arms(assigner(), 200)
