"""A model's page tells which backend should serve it."""

from __future__ import annotations

import json

import msgspec

from loadtests.verdict.document import encode
from tests.gateway.control.pages.served import HOSTILE, Served, tags, text
from tests.loadtests.verdict.made import row, verdict


async def told(site: Served) -> str:
    return text((await site.get("/models/m")).text)


async def test_the_recommendation_its_reason_when_and_where_are_on_the_page(site: Served) -> None:
    words = await told(site)
    assert "Version 2: onnxruntime" in words
    assert "costs the least: 0.0140" in words
    assert "What speaks against it" in words
    assert "m/2@tflite needs less memory: 30 MB, not 60 MB" in words
    assert "Made 2026-11-23 12:00:00 on EPYC-2c" in words
    assert "AMD EPYC, 2 cores" in words
    assert "the gateway's processes were not seen" in words


async def test_undecided_is_said_as_such(site: Served) -> None:
    assert "Version 1: undecided between onnxruntime and tflite" in await told(site)


async def test_every_figure_of_every_backend_is_in_the_table_with_its_interval(site: Served) -> None:
    words = await told(site)
    assert "Highest rate, 1/s 1,000 900 … 1,100" in words
    assert "Right answers 100 % 80.0 % … 100 %" in words.replace("\N{NO-BREAK SPACE}", " ")
    assert "260 MB 200 MB its server, 2 share it" in words
    html = (await site.get("/models/m")).text
    labels = [attributes.get("data-label") for tag, attributes in tags(html) if tag == "td"]
    assert labels.count("tflite-int8") == 13
    assert not any(
        "figures" in attributes.get("class", "") for tag, attributes in tags(html) if tag == "table"
    )  # a grid


async def test_what_failed_and_what_is_wrong_stand_beside_the_table(site: Served) -> None:
    words = await told(site)
    assert "m/2@torchserve: failed: status 507" in words
    assert "m/2@tflite-int8: its answers are not the reference's: off by 0.700" in words


async def test_a_verdict_on_other_files_than_are_served_is_said_to_be_old(site: Served) -> None:
    assert "Made of other files than are served now: m/2@onnxruntime" in await told(site)
    served = site.plane.record("m/2@onnxruntime")
    assert served
    current = msgspec.structs.replace(verdict(row("onnxruntime", "m/2", digest=served.digest)), version=2)
    site.kept.save_verdict("m", 2, 0.0, encode(current).decode())
    assert "Made of other files" not in await told(site)


async def test_words_of_a_verdict_are_text_and_never_markup(site: Served) -> None:
    document = json.loads(encode(verdict()))
    document["recommendation"]["reason"] = document["marks"] = HOSTILE
    document["marks"] = [HOSTILE]
    document["rows"][0] |= {"backend": HOSTILE, "problems": [HOSTILE]}
    document["machine"]["cpu"] = HOSTILE
    site.kept.save_verdict("m", 2, 0.0, json.dumps({**document, "version": 2}))
    html = (await site.get("/models/m")).text
    assert HOSTILE.split("<img")[0] in text(html)
    assert "<script>alert" not in html
    assert not any("onerror" in attributes for _, attributes in tags(html))


async def test_a_store_that_fails_leaves_the_rest_of_the_page(site: Served) -> None:
    site.kept.fails = "the disk is full"
    answer = await site.get("/models/m")
    assert answer.status_code == 200
    assert "verdicts are kept in the store, which fails: the disk is full" in text(answer.text)
    assert "m/2@onnxruntime" in answer.text


async def test_a_model_without_verdicts_has_no_section_of_them(site: Served) -> None:
    site.kept.documents.clear()
    assert "Which backend should serve it" not in await told(site)
