"""What forms do, and what they say where they were refused."""

from __future__ import annotations

import pytest

from adapters.errors import BackendUnavailable
from gateway.errors import Conflict, ModelNotFound, NotAllowed
from tests.gateway.control.pages.served import HOSTILE, RUNNING, Served, text


async def test_a_label_is_moved_and_then_seen(site: Served) -> None:
    answer = await site.post("/models/m", act="label", label="canary", version="2")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/models/m?done=label-moved#notice"
    seen = text((await site.get("/models/m?done=label-moved")).text)
    assert "canary 2" in seen
    assert "The label was moved" in seen
    assert await site.plane.labels.of("m") == {"stable": 1, "canary": 2}


async def test_a_label_is_taken_away(site: Served) -> None:
    answer = await site.post("/models/m", act="remove-label", label="stable")
    assert answer.status_code == 303
    assert await site.plane.labels.of("m") == {}


@pytest.mark.parametrize(
    ("fields", "status", "says"),
    [
        ({"label": "Not A Label", "version": "2"}, 400, "expected a name of a-z"),
        ({"label": "canary", "version": "9"}, 404, "9"),
        ({"label": "canary", "version": "two"}, 400, "expected a positive integer"),
    ],
)
async def test_a_label_that_cannot_be_moved_is_said_beside_what_was_typed(
    site: Served, fields: dict[str, str], status: int, says: str
) -> None:
    answer = await site.post("/models/m", act="label", **fields)
    assert answer.status_code == status
    assert says in text(answer.text)
    assert 'id="error-label"' in answer.text
    assert f'value="{fields["label"]}" aria-describedby="error-label"' in answer.text


async def test_what_was_done_is_told_in_our_words_only(site: Served) -> None:
    html = (await site.get(f"{RUNNING}?done=your+account+was+hacked")).text
    assert "hacked" not in html
    assert 'id="notice"' not in html


async def test_weights_are_set_and_then_seen(site: Served) -> None:
    answer = await site.post(RUNNING, act="weights", weight__tf="90", weight__onnx="10", who="ada")
    assert answer.status_code == 303
    assert answer.headers["location"] == f"{RUNNING}?done=weights#notice"
    assert site.desk.asked == [("set", "which-runtime", {"weights": {"tf": 90.0, "onnx": 10.0}}, "ada")]
    assert (
        'name="weight-tf" class="weight" inputmode="decimal" required autocomplete="off" value="90"'
        in (await site.get(RUNNING)).text
    )


@pytest.mark.parametrize(
    ("tf", "onnx", "says"),
    [
        ("90", "20", "expected 100 % together, got 110 %"),
        ("ninety", "10", "weight of tf: expected a number from 0 to 100, got 'ninety'"),
        ("-5", "105", "weight of tf"),
        ("nan", "10", "weight of tf"),
        ("", "100", "weight of tf"),
    ],
)
async def test_weights_that_are_none_come_back_as_they_were_typed(site: Served, tf: str, onnx: str, says: str) -> None:
    answer = await site.post(RUNNING, act="weights", weight__tf=tf, weight__onnx=onnx, who="ada")
    assert answer.status_code == 400
    assert says in text(answer.text)
    assert f'value="{tf}" aria-describedby="error-weights"' in answer.text
    assert 'value="ada"' in answer.text
    assert "<details open>" in answer.text
    assert site.desk.asked == []


async def test_an_experiment_is_started_stopped_promoted_and_deleted(site: Served) -> None:
    draft = "/models/m/experiments/draft"
    assert (await site.post(draft, act="start", who="ada")).status_code == 303
    assert (await site.post(draft, act="stop", reason=" too slow ")).status_code == 303
    assert (await site.post(draft, act="promote", variant="onnx")).status_code == 303
    removed = await site.post(draft, act="remove")
    assert removed.headers["location"] == "/experiments?done=remove#notice"
    assert site.desk.asked == [
        ("start", "draft", "ada"),
        ("stop", "draft", "too slow", "pages"),
        ("promote", "draft", "onnx", "pages"),
        ("remove", "draft", "pages"),
    ]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Conflict("it runs over the same traffic as 'other'"), 409),
        (NotAllowed("its file is wrong"), 403),
        (BackendUnavailable("the repository cannot be read"), 502),
        (ModelNotFound(f"no version {HOSTILE}"), 404),
    ],
)
async def test_what_the_desk_refuses_is_said_beside_the_form(site: Served, error: Exception, status: int) -> None:
    site.desk.fails = {"stop": error}
    answer = await site.post(RUNNING, act="stop", reason="because")
    assert answer.status_code == status
    assert str(error) in text(answer.text)
    assert 'value="because"' in answer.text
    assert "<script>" not in answer.text


async def test_what_was_refused_is_said_even_where_its_form_is_gone(site: Served) -> None:
    site.desk.fails = {"start": Conflict("it runs")}
    answer = await site.post(RUNNING, act="start")  # somebody else was faster
    assert answer.status_code == 409
    assert "it runs" in text(answer.text)


async def test_nobody_is_promoted_by_default(site: Served) -> None:
    answer = await site.post(RUNNING, act="promote")
    assert answer.status_code == 400
    assert "choose the one to promote" in answer.text


@pytest.mark.parametrize("fields", [{}, {"act": "explode"}])
async def test_an_act_that_is_none_is_refused(site: Served, fields: dict[str, str]) -> None:
    assert (await site.post(RUNNING, **fields)).status_code == 400
    assert site.desk.asked == []


async def test_a_new_experiment_is_written_from_what_was_chosen(site: Served) -> None:
    fields = {
        "act": "create",
        "model": "m",
        "name": "new",
        "who": "ada",
        "name-m/1@onnxruntime": "old",
        "weight-m/1@onnxruntime": "90",
        "name-m/2@onnxruntime": "fresh",
        "weight-m/2@onnxruntime": "10",
        "control": "m/1@onnxruntime",
    }
    answer = await site.client.post("/experiments", data=fields)
    assert answer.headers["location"] == "/models/m/experiments/new?done=created#notice"
    variants = {
        "old": {"target": "m/1@onnxruntime", "weight": 90.0},
        "fresh": {"target": "m/2@onnxruntime", "weight": 10.0},
    }
    assert site.desk.asked == [("create", "new", {"variants": variants, "control": "old"}, "ada")]
    again = await site.client.post("/experiments", data=fields)
    assert again.status_code == 409
    assert "is there already" in again.text
    assert 'name="name-m/2@onnxruntime" maxlength="64"' in again.text
    assert 'value="fresh"' in again.text


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"weight-m/1@onnxruntime": "100", "name-m/1@onnxruntime": "a"}, "expected two at least"),
        ({"weight-other/1@tflite": "100", "name-other/1@tflite": "a"}, "expected a deployment of 'm'"),
        ({"weight-../../etc": "100"}, "is no deployment"),
        ({"weight-m/1@onnxruntime": "100"}, "expected a name that no other has"),
    ],
)
async def test_a_new_experiment_of_another_form_is_refused(site: Served, fields: dict[str, str], says: str) -> None:
    answer = await site.client.post("/experiments", data={"act": "create", "model": "m", "name": "new", **fields})
    assert answer.status_code == 400
    assert says in text(answer.text)
    assert site.desk.asked == []


async def test_forms_of_other_sites_are_refused(site: Served) -> None:
    for origin in ("http://evil.example", "null"):
        answer = await site.client.post(RUNNING, data={"act": "stop"}, headers={"origin": origin})
        assert answer.status_code == 403
    assert site.desk.asked == []


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b'{"act": "stop"}', "application/json", 400),
        (b"act=stop", "multipart/form-data", 400),
        (b"x=1&" * 1000, "application/x-www-form-urlencoded", 400),
        (b"act=stop&reason=" + b"x" * (5 << 20), "application/x-www-form-urlencoded", 413),
        (b"act=st\xff", "application/x-www-form-urlencoded", 400),
    ],
)
async def test_a_body_that_is_no_form_is_refused(site: Served, content: bytes, kind: str, status: int) -> None:
    answer = await site.client.post(RUNNING, content=content, headers={"content-type": kind})
    assert answer.status_code == status
    assert site.desk.asked == []
