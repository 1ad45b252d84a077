"""Verdicts over the control API: checked, kept in the store, given again."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from gateway.conduct.keeper import Keeper
from gateway.control.errors import add_errors
from gateway.control.verdict_form import MOST_BYTES, Verdict
from gateway.control.verdicts import Verdicts, add_verdicts
from loadtests.verdict.document import encode
from tests.gateway.plane import Plane
from tests.loadtests.verdict.made import row, verdict

BASE = "/v1/models/m/versions/1/verdict"


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[Plane]:
    plane = Plane(tmp_path)
    plane.publish("m/1", "one")
    plane.publish("m/2", "two")
    async with plane.running():
        await plane.reaches(v1="READY", v2="READY")
        yield plane


@pytest.fixture
async def keeper(tmp_path: Path) -> AsyncIterator[Keeper]:
    keeper = Keeper(f"sqlite:///{tmp_path}/store.db", "test", pause_s=0.0)
    yield keeper
    await keeper.close()


def asking(plane: Plane, keeper: Keeper) -> httpx.AsyncClient:
    app = FastAPI()
    add_verdicts(app, Verdicts(plane.control, keeper))
    add_errors(app)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:8002")


@pytest.fixture
async def client(plane: Plane, keeper: Keeper) -> AsyncIterator[httpx.AsyncClient]:
    async with asking(plane, keeper) as client:
        yield client


def document(**changed: Any) -> dict[str, Any]:
    return {**json.loads(encode(verdict())), **changed}


async def test_what_was_put_is_given_again_word_for_word(client: httpx.AsyncClient) -> None:
    put = await client.put(BASE, content=encode(verdict()))
    assert put.status_code == 200, put.text
    given = (await client.get(BASE)).json()
    assert {**given, "made": ""} == {**document(), "made": ""}
    assert Verdict.model_validate(given) == Verdict.model_validate(document())


async def test_a_later_verdict_takes_the_earlier_ones_place_and_outlasts_the_gateway(
    plane: Plane, keeper: Keeper, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    await client.put(BASE, json=document(marks=["the first"]))
    await client.put(BASE, json=document(marks=["the second"]))
    again = Keeper(f"sqlite:///{tmp_path}/store.db", "another")
    async with asking(plane, again) as other:
        assert (await other.get(BASE)).json()["marks"] == ["the second"]
    await again.close()


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"version": 2}, "expected a verdict on m/1, got m/2"),
        ({"model": "other"}, "expected a verdict on m/1, got other/1"),
        ({"schema": 2}, "schema"),
        ({"extra": 1}, "extra"),
        ({"made": "yesterday"}, "made"),
        ({"marks": ["x" * 3000]}, "marks.0"),
        ({"rows": document()["rows"] * 40}, "rows"),
        ({"rows": []}, "is none of the rows"),
        ({"rows": [{**document()["rows"][0], "load_s": "fast"}]}, "rows.0.load_s"),
        ({"rows": [{**document()["rows"][0], "p99_ms": {"value": 3, "low": 4, "high": 5}}]}, "low <= value"),
        ({"rows": [{**document()["rows"][0], "errors": 2}]}, "rows.0.errors"),
    ],
)
async def test_what_is_no_verdict_on_this_version_is_refused_by_the_name_of_its_field(
    client: httpx.AsyncClient, changed: dict[str, Any], named: str
) -> None:
    answer = await client.put(BASE, json=document(**changed))
    assert answer.status_code == 400
    assert named in answer.json()["error"]
    assert (await client.get(BASE)).status_code == 404


@pytest.mark.parametrize("body", [b"", b"[", b"[" * 100_000, b"null", b'"text"', b"\xff\xfe"])
async def test_what_is_no_json_is_refused(client: httpx.AsyncClient, body: bytes) -> None:
    assert (await client.put(BASE, content=body)).status_code == 400


async def test_a_body_over_the_limit_is_not_read_to_its_end(client: httpx.AsyncClient) -> None:
    answer = await client.put(BASE, content=b" " * (MOST_BYTES + 1))
    assert answer.status_code == 413


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/nope/versions/1/verdict",
        "/v1/models/m/versions/9/verdict",
        "/v1/models/m/versions/99999999999999999999999/verdict",
        "/v1/models/m/versions/-1/verdict",
        "/v1/models/..%2Fm/versions/1/verdict",
    ],
)
async def test_a_version_that_is_not_here_is_not_found_and_what_is_here_is_said(
    client: httpx.AsyncClient, path: str
) -> None:
    for answer in (await client.get(path), await client.put(path, json=document())):
        assert answer.status_code == 404
        assert "1, 2" in answer.json()["error"] or "/v1/status" in answer.json()["error"] or "%2F" in path


async def test_without_a_verdict_it_is_said_how_to_make_one(client: httpx.AsyncClient) -> None:
    answer = await client.get(BASE)
    assert answer.status_code == 404
    assert "torii compare m/1" in answer.json()["error"]


async def test_a_store_that_fails_is_said_and_is_no_crash(plane: Plane, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    broken = Keeper(f"sqlite:///{tmp_path}/file/store.db", "test", pause_s=0.0)
    async with asking(plane, broken) as client:
        for answer in (await client.get(BASE), await client.put(BASE, json=document())):
            assert answer.status_code == 502
            assert "store" in answer.json()["error"]
    await broken.close()


async def test_what_another_torii_kept_in_another_form_is_a_conflict_until_it_is_made_anew(
    keeper: Keeper, client: httpx.AsyncClient
) -> None:
    await keeper.do(lambda store: store.save_verdict("m", 1, 0.0, '{"schema": 99}'))
    assert (await client.get(BASE)).status_code == 409
    assert (await client.put(BASE, json=document())).status_code == 200
    assert (await client.get(BASE)).status_code == 200


async def test_a_models_verdicts_are_those_of_versions_that_are_here_the_newest_first(
    plane: Plane, keeper: Keeper
) -> None:
    verdicts = Verdicts(plane.control, keeper)
    for version in (1, 2, 7):
        made = verdict(row("a", f"m/{version}"), version=version)
        await keeper.do(lambda store, made=made: store.save_verdict("m", made.version, 0.0, encode(made).decode()))
    await keeper.do(lambda store: store.save_verdict("other", 1, 0.0, encode(verdict()).decode()))
    assert [each.version for each in await verdicts.of_model("m")] == [2, 1]
