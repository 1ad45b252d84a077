"""What the pages say of models and deployments, and what is true of all of them; asked as a browser asks."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.gateway.control.pages.fake_desk import FakeDesk, analysis, definition, event, every_state, view
from tests.gateway.control.pages.served import HOSTILE, RUNNING, Served, served, tags, text

PAGES = ["/", "/experiments", "/edge", "/models/m", *(f"/models/m/experiments/{name}" for name in every_state().kept)]


@pytest.mark.parametrize("path", PAGES)
async def test_every_page_opens_and_may_load_nothing_of_elsewhere(site: Served, path: str) -> None:
    answer = await site.get(path)
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'self';")
    assert "unsafe" not in policy
    assert "set-cookie" not in answer.headers
    for tag, attributes in tags(answer.text):
        assert tag != "style"
        assert tag != "script" or attributes["src"] == "/pages/torii.js"
        assert not [name for name in attributes if name == "style" or name.startswith("on")]
        for name in attributes.keys() & {"src", "href", "action"}:
            assert re.match(r"/(?!/)|#", attributes[name])


@pytest.mark.parametrize("path", PAGES)
async def test_every_id_is_there_once(site: Served, path: str) -> None:
    ids = re.findall(r'\sid="([^"]*)"', (await site.get(path)).text)
    assert len(ids) == len(set(ids))


async def test_the_overview_says_what_is_served_and_what_is_not(site: Served) -> None:
    html = (await site.get("/")).text
    seen = text(html)
    assert "Gateway ready 2 READY 1 FAILED" in seen
    assert "1@onnxruntime READY" in seen
    assert "stable" in seen
    record = site.plane.record("m/1@onnxruntime")
    assert record
    assert f'title="{record.digest}"' in html
    assert "empty: no version: expected a folder" in seen
    assert "Frontends" in seen
    assert "onnx is faster by 0.9 ms" in seen
    assert "set m/which-runtime by ada: no errors so far" in seen
    assert "weights: tf 90, onnx 10 → tf 50, onnx 50" in seen


async def test_reasons_names_and_events_are_text_and_never_markup(site: Served) -> None:
    kept = site.desk.kept["which-runtime"]
    variants = (msgspec.structs.replace(kept.variants[0], name=HOSTILE), kept.variants[1])
    hostile = msgspec.structs.replace(
        kept, variants=variants, control=HOSTILE, description=HOSTILE, owner=HOSTILE, reason=HOSTILE, name=HOSTILE
    )
    site.desk.kept = {HOSTILE: hostile}
    words = msgspec.structs.replace(analysis(hostile, 1000), words=HOSTILE)
    site.desk.views[HOSTILE] = view(hostile, 1000, analysis=words, problems=(HOSTILE,), counters={HOSTILE: 1})
    site.desk.mistakes = [HOSTILE]
    site.desk.log = [event(who=HOSTILE, action=HOSTILE, experiment=HOSTILE, reason=HOSTILE, after={HOSTILE: HOSTILE})]
    for path in ("/", "/experiments", "/models/m", "/models/broken"):
        html = (await site.get(path)).text
        assert "alert(" in html
        assert "<script>" not in html
        assert "<img src=x" not in html


async def test_a_model_has_its_signature_and_an_example_that_fits(site: Served) -> None:
    html = (await site.get("/models/m")).text
    assert "input x FP32 [-1]" in text(html)
    assert "{&#34;name&#34;: &#34;x&#34;, &#34;shape&#34;: [1], &#34;datatype&#34;: &#34;FP32&#34;" in html


async def test_programs_that_ask_for_a_model_get_no_page(site: Served) -> None:
    answer = await site.client.get("/models/m", headers={"accept": "*/*"})
    assert answer.status_code == 404  # here is no TorchServe management, which answers it
    assert "text/html" not in answer.headers["content-type"]


async def test_a_model_that_is_not_there_is_a_page_that_says_so(site: Served) -> None:
    answer = await site.get("/models/nope")
    assert answer.status_code == 404
    assert "model 'nope' is not here" in text(answer.text)


async def test_another_name_of_this_machine_is_refused(site: Served) -> None:
    assert (await site.client.get("/", headers={"host": "evil.example"})).status_code == 403


async def test_without_a_desk_there_is_nothing_of_experiments(tmp_path: Path) -> None:
    async with served(tmp_path, with_desk=False) as site:
        for path in ("/", "/models/m"):
            answer = await site.get(path)
            assert answer.status_code == 200
            assert "xperiment" not in answer.text
        assert (await site.get("/experiments")).status_code == 404
        assert (await site.get(RUNNING)).status_code == 404
        assert (await site.post(RUNNING, act="stop")).status_code == 404
        assert (await site.post("/experiments", act="create")).status_code == 404


async def test_script_style_and_icon_are_served_and_nothing_else_is(site: Served) -> None:
    for name, kind in (("torii.css", "text/css"), ("torii.js", "text/javascript"), ("torii.svg", "image/svg+xml")):
        answer = await site.get(f"/pages/{name}")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(kind)
    for name in ("torii.py", "..%2Frendering.py", "%2e%2e/rendering.py", "base.html"):
        assert (await site.get(f"/pages/{name}")).status_code == 404


async def test_views_are_asked_for_together(tmp_path: Path) -> None:
    class Slow(FakeDesk):
        waiting = 0
        together = asyncio.Event()

        async def view(self, model: str, name: str) -> Any:
            self.waiting += 1
            if self.waiting == 5:
                self.together.set()
            await self.together.wait()
            return await super().view(model, name)

    async with served(tmp_path, desk=Slow(*(definition(f"e{number}") for number in range(5)))) as site:
        assert (await site.get("/")).status_code == 200
