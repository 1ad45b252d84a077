"""The control API's routes for experiments: what callers may say, and what they are answered."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.errors import InvalidInput
from gateway.control.errors import add_errors
from gateway.control.experiments import add_experiments
from gateway.control.outcomes import MAX_BYTES, MOST, read_outcomes
from gateway.errors import RequestTooLarge
from gateway.experiments.report import Outcome
from tests.gateway.experiment_desk import TWO, FakeDesk

ONE = "/v1/models/digits/experiments/x"
GOOD = {"request": "abc", "metric": "correct", "value": 1}


class Caller:
    """A client of the routes, and the desk behind them."""

    def __init__(self) -> None:
        self.desk = FakeDesk()
        app = FastAPI()
        add_experiments(app, self.desk)
        add_errors(app)
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://control")

    async def ask(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
        named = {name.replace("_", "-"): value.encode() for name, value in headers.items()}
        content = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        answer = await self.client.request(method, path, content=content, headers=named)
        return answer.status_code, answer.json() if answer.content else None

    async def refused(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, str]:
        status, answer = await self.ask(method, path, body, **headers)
        return status, answer["error"]


@pytest.fixture
async def caller() -> AsyncIterator[Caller]:
    caller = Caller()
    async with caller.client:
        yield caller


async def test_an_experiment_is_made_read_changed_run_and_removed(caller: Caller) -> None:
    status, made = await caller.ask("PUT", ONE, {**TWO, "description": "which?"})
    assert (status, made["model"], made["name"], made["state"], made["control"]) == (201, "digits", "x", "draft", "tf")
    assert await caller.ask("GET", ONE) == (200, made)
    assert await caller.ask("GET", "/v1/experiments") == (200, {"experiments": [made], "problems": []})
    assert await caller.ask("GET", "/v1/experiments?model=other") == (200, {"experiments": [], "problems": []})
    status, changed = await caller.ask("PATCH", ONE, {"weights": {"tf": 90, "onnx": 10}, "description": None})
    assert (status, changed["variants"]["onnx"]["weight"], changed["description"]) == (200, 10, "")
    assert (await caller.ask("POST", f"{ONE}/start"))[1]["state"] == "running"
    assert (await caller.ask("POST", f"{ONE}/stop", {"reason": "enough"}))[1]["state"] == "stopped"
    assert (await caller.ask("POST", f"{ONE}/stop"))[0] == 200
    assert (await caller.ask("POST", f"{ONE}/promote", {"variant": "onnx"}))[0] == 200
    assert await caller.ask("DELETE", ONE) == (204, None)
    peer = "control API from 127.0.0.1"
    assert caller.desk.asked == [
        ("create", peer),
        ("set", {"weights": {"tf": 90, "onnx": 10}, "description": None}, peer),
        ("start", peer),
        ("stop", "enough", peer),
        ("stop", "", peer),
        ("promote", "onnx", peer),
        ("remove", peer),
    ]


async def test_what_is_answered_of_an_experiment_makes_the_same_again(caller: Caller) -> None:
    _, made = await caller.ask("PUT", ONE, {**TWO, "start": "2026-12-01T09:00:00Z", "filter": {"headers": {"A": "b"}}})
    kept = ("model", "name", "state", "run", "started", "ended", "reason", "winner", "current")
    document = {key: value for key, value in made.items() if key not in kept}
    _, again = await caller.ask("PUT", f"{ONE}2", document)
    assert {**again, "name": "x"} == made
    assert again["start"] == "2026-12-01T09:00:00Z"


async def test_mistakes_have_their_status_and_text(caller: Caller) -> None:
    assert await caller.refused("GET", ONE) == (404, "model 'digits' has no experiment 'x'")
    for path in (f"{ONE}/status", f"{ONE}/looks"):
        assert (await caller.refused("GET", path))[0] == 404
    assert await caller.refused("PUT", ONE, {"variants": {}}) == (
        400, "x: variants: Dictionary should have at least 2 items after validation, not 0",
    )  # fmt: skip
    await caller.ask("PUT", ONE, TWO)
    assert await caller.refused("PUT", ONE, TWO) == (409, "experiment 'x' is there already")
    status, text = await caller.refused("PATCH", ONE, {"weights": {"tf": 90}})
    assert (status, text) == (400, "x: variants: expected weights that sum to 100, found 140 (tf 90, onnx 50)")


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "text"),
    [
        ("PUT", "", b"{", 400, "body: not JSON: "),
        ("PUT", "", b"[]", 400, "body: expected an object"),
        ("PUT", "", b'{"a": NaN}', 400, "body: not JSON: "),
        ("PUT", "", b"\xff", 400, "body: not JSON: "),
        ("PUT", "", b'{"a": ' + b"[" * 100_000, 400, "body: not JSON: "),
        ("PATCH", "", b"", 400, "body: not JSON: "),
        ("PUT", "", b" " * ((1 << 20) + 1), 413, "body: expected at most 1048576 bytes, got 1048577"),
        ("POST", "/stop", b'{"why": "x"}', 400, "'why': unknown; expected {'reason': TEXT}"),
        ("POST", "/stop", b'{"reason": 5}', 400, "reason: expected a text of 1000 characters at most, got 5"),
        ("POST", "/promote", b"{}", 400, "variant: expected a text of 1000 characters at most, got None"),
        ("POST", "/promote", b"", 400, "body: not JSON: "),
    ],
)
async def test_a_body_is_what_its_route_expects(
    caller: Caller, method: str, path: str, body: bytes, status: int, text: str
) -> None:
    await caller.ask("PUT", ONE, TWO)
    got, error = await caller.refused(method, ONE + path, body)
    assert (got, error[: len(text)]) == (status, text)


async def test_who_made_a_change_is_the_callers_word_or_its_address(caller: Caller) -> None:
    await caller.ask("PUT", ONE, TWO, torii_who="Zoë")
    await caller.ask("POST", f"{ONE}/start", torii_who="a" * 100)
    assert [each[-1] for each in caller.desk.asked] == ["Zoë", "a" * 100]
    for bad in ("", "a" * 101, "a\tb", "a\x85b"):
        status, text = await caller.refused("POST", f"{ONE}/start", torii_who=bad)
        assert (status, text) == (400, "torii-who: expected 1 to 100 printable characters")


async def test_a_status_is_json_and_what_is_not_finite_is_null(caller: Caller) -> None:
    _, made = await caller.ask("PUT", ONE, TWO)
    status, view = await caller.ask("GET", f"{ONE}/status")
    assert (status, view["definition"], view["at"]) == (200, made, "2026-12-01T09:05:00Z")
    assert view["analysis"]["metrics"][1]["estimate"] == {"value": 2.0, "low": 1.9, "high": None}
    assert view["analysis"]["verdicts"] == {"onnx": "better"}
    assert [each["requests"] for each in view["variants"]] == [900, 900]
    caller.desk.analysis = None
    assert (await caller.ask("GET", f"{ONE}/status"))[1]["analysis"] is None
    _, looks = await caller.ask("GET", f"{ONE}/looks")
    assert looks["looks"][0]["estimate"] == {"value": None, "low": None, "high": None}


async def test_events_are_of_a_model_or_an_experiment_and_so_many(caller: Caller) -> None:
    _, answer = await caller.ask("GET", "/v1/events")
    assert answer["events"][0]["after"] == {"variants": {"tf": {"weight": 90}}, "run": 1}
    await caller.ask("GET", "/v1/events?model=digits&experiment=x&limit=1000")
    assert caller.desk.asked == [("events", None, None, 100), ("events", "digits", "x", 1000)]
    for limit in ("0", "1001", "x"):
        assert (await caller.refused("GET", f"/v1/events?limit={limit}"))[0] == 400


async def test_one_outcome_a_list_and_an_object_of_them_are_taken(caller: Caller) -> None:
    unit = {"experiment": "digits/x", "unit": "u", "metric": "m", "value": True, "at": "2026-12-01T09:00:00+01:00"}
    for body, accepted in ((GOOD, 1), ([GOOD, unit], 2), ({"outcomes": [GOOD]}, 1), ([], 0)):
        receipt = {"accepted": accepted, "duplicates": 0, "sampled_out": 0, "refused": []}
        assert await caller.ask("POST", "/v1/outcomes", body) == (200, receipt)
    assert caller.desk.outcomes[0] == Outcome(metric="correct", value=1.0, request="abc")
    at = datetime(2026, 12, 1, 8, tzinfo=UTC)
    assert caller.desk.outcomes[2] == Outcome(metric="m", value=1.0, experiment="digits/x", unit="u", at=at)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"value": None}, "value: expected a finite number, or true or false, got None"),
        ({"value": "1"}, "value: expected a finite number, or true or false, got '1'"),
        ({"value": 10**400}, None),
        ({"metric": "No Name"}, "metric: expected a name of a-z 0-9 . _ - (64 at most), got 'No Name'"),
        ({"metric": 5}, "metric: expected a name of a-z 0-9 . _ - (64 at most), got 5"),
        ({"weight": 1}, "'weight': unknown; an outcome has metric, value, request, experiment, unit, key, at"),
        ({"request": None}, "expected either request (torii-request-id of an answer), or experiment (MODEL"),
        ({"experiment": "a/b", "unit": "u"}, "expected either request"),
        ({"request": None, "unit": "u"}, "expected either request"),
        ({"request": None, "experiment": "a/b"}, "expected either request"),
        ({"request": "x" * 1001}, "request: expected a text of 1 to 1000 characters, got 'xxx"),
        ({"key": ""}, "key: expected a text of 1 to 200 characters, got ''"),
        ({"key": "k" * 201}, "key: expected a text of 1 to 200 characters, got 'kkk"),
        ({"at": "2026-12-01"}, "at: expected a time with its offset from UTC, as 2026-12-01T09:00:00Z, got '2026"),
        ({"at": 5}, "at: expected a time with its offset from UTC, as 2026-12-01T09:00:00Z, got 5"),
        ({"request": "?"}, "request: it is not of here"),
    ],
)  # fmt: skip
async def test_a_wrong_outcome_is_refused_alone(caller: Caller, change: dict[str, Any], text: str | None) -> None:
    wrong = {**GOOD, **change}
    status, error = await caller.refused("POST", "/v1/outcomes", wrong)
    assert (status, error[: len(text or "")]) == (400, text or "")
    if text is None:
        return  # which no parser takes for a number: the whole body is no JSON then
    status, receipt = await caller.ask("POST", "/v1/outcomes", [GOOD, wrong, 7, GOOD, wrong])
    assert (status, receipt["accepted"]) == (200, 2)
    assert [(each["index"], each["error"]) for each in receipt["refused"]] == [
        (1, error),
        (2, 'expected an object, as {"request": "…", "metric": "correct", "value": 1}'),
        (4, error),
    ]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "body: not JSON: "),
        (b"5", "body: expected an outcome, a list of them, or"),
        (b'{"outcomes": 5}', "body: expected an outcome, a list of them, or"),
        (b'{"outcomes": [], "more": 1}', "body: beside 'outcomes', expected no other key, got 'more'"),
        (b'[{"value": NaN}]', "body: not JSON: "),
        (b"[" * 100_000, "body: not JSON: "),
    ],
)
async def test_what_is_no_list_of_outcomes_is_refused_as_a_whole(caller: Caller, body: bytes, text: str) -> None:
    status, error = await caller.refused("POST", "/v1/outcomes", body)
    assert (status, error[: len(text)]) == (400, text)
    assert caller.desk.asked == []


async def test_a_body_holds_ten_thousand_outcomes_and_no_more(caller: Caller) -> None:
    status, receipt = await caller.ask("POST", "/v1/outcomes", {"outcomes": [GOOD] * MOST})
    assert (status, receipt["accepted"]) == (200, MOST)
    for body in (
        [GOOD] * (MOST + 1),
        {"outcomes": [{}] * (MOST * 10)},
        [1] * (MOST * 10),
        [1] * (MOST + 1),
    ):
        assert await caller.refused("POST", "/v1/outcomes", body) == (
            413,
            f"outcomes: expected at most {MOST} in one body, got more; send several",
        )
    status, text = await caller.refused("POST", "/v1/outcomes", b" " * (MAX_BYTES + 1))
    assert (status, text) == (413, f"body: expected at most {MAX_BYTES} bytes, got {MAX_BYTES + 1}")
    assert len(caller.desk.outcomes) == MOST


def test_too_many_are_seen_before_anything_is_parsed() -> None:
    with pytest.raises(RequestTooLarge):
        read_outcomes(b"[" + b"{}," * (MOST * 10) + b"this is no JSON")
    with pytest.raises(RequestTooLarge):
        read_outcomes(b"[" + b"1," * (MOST * 10) + b"this is no JSON")


def test_braces_and_commas_in_texts_are_not_counted() -> None:
    body = json.dumps([{**GOOD, "request": '{,"\\' * 100}] * 1000).encode()
    assert body.count(b"{") > MOST
    assert len(read_outcomes(body).outcomes) == 1000


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["a/b", "u"]),
    lambda one: st.lists(one, max_size=3) | st.dictionaries(st.sampled_from([*GOOD, "unit", "key", "at"]), one),
    max_leaves=15,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=30))
def test_no_body_makes_anything_but_outcomes_or_refusals(body: bytes) -> None:
    try:
        batch = read_outcomes(body)
    except InvalidInput:
        return
    places = sorted([*batch.places, *(each.index for each in batch.refused)])
    assert places == list(range(len(places)))
    assert len(batch.places) == len(batch.outcomes)


async def test_every_route_is_described_with_an_example(caller: Caller) -> None:
    _, described = await caller.ask("GET", "/openapi.json")
    for path, methods in described["paths"].items():
        for method, route in methods.items():
            where = f"{method} {path}"
            assert route["description"], where
            if method != "delete":
                answers = [each for code, each in route["responses"].items() if code in ("200", "201")]
                assert answers[0]["content"]["application/json"]["example"], where
            if method in ("put", "patch") or path.endswith(("/stop", "/promote", "/outcomes")):
                assert route["requestBody"]["content"]["application/json"]["examples"], where
