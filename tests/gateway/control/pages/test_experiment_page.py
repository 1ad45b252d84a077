"""What an experiment's page says, in every state; over a desk that makes it up."""

from __future__ import annotations

import msgspec
import pytest

from adapters.errors import BackendUnavailable
from gateway.experiments.definition import Guardrails
from gateway.experiments.report import Estimate, Verdict
from tests.gateway.control.pages.fake_desk import analysis, looks, view
from tests.gateway.control.pages.served import HOSTILE, RUNNING, Served, text


async def test_an_experiment_with_hostile_texts_is_shown_as_text(site: Served) -> None:
    kept = site.desk.kept["which-runtime"]
    variants = (msgspec.structs.replace(kept.variants[0], name=HOSTILE), kept.variants[1])
    hostile = msgspec.structs.replace(kept, variants=variants, control=HOSTILE, description=HOSTILE, owner=HOSTILE)
    site.desk.kept["which-runtime"] = hostile
    site.desk.views["which-runtime"] = view(hostile, 1000, problems=(HOSTILE,))
    site.desk.all_looks["which-runtime"] = looks(hostile, 5)
    html = (await site.get(RUNNING)).text
    assert html.count("&lt;script&gt;") > 10
    assert "<script>" not in html
    assert "<img src=x" not in html


async def test_the_verdict_stands_on_top_and_all_evidence_below(site: Served) -> None:
    html = (await site.get(RUNNING)).text
    seen = text(html)
    order = [
        "onnx is faster by 0.9 ms",
        "Change it",
        "Split",
        "Sample ratio:",
        "Metrics latency_ms",
        "Guardrails",
        "Events",
    ]
    places = [seen.index(each) for each in order]
    assert places == sorted(places)
    assert "p95 of the latency, from admission to answer; lower is better; less than 5 % apart" in seen
    assert "−0.900 ms" in seen
    assert "97.1 %" in seen
    assert "At the rate so far that takes 90 min." in seen
    assert html.count('class="chart forest"') == 3
    assert html.count('class="chart over-time"') == 6
    assert "latency_ms: the last 12 of 120 looks" in seen
    assert "Disagreed 12 (0.250 %)" in seen


async def test_a_draft_has_no_evidence_and_can_be_started(site: Served) -> None:
    html = (await site.get("/models/m/experiments/draft")).text
    assert "No evidence yet." in html
    assert "Start the experiment" in html
    assert "Stop the experiment" not in html
    assert "<svg" in html
    assert "chart forest" not in html


async def test_a_stopped_one_says_why_and_who_won(site: Served) -> None:
    seen = text((await site.get("/models/m/experiments/stopped")).text)
    assert "enough was seen" in seen
    assert "Promoted onnx" in seen
    assert "Stop the experiment" not in seen
    assert "it is a new run" in seen


async def test_a_sample_ratio_that_is_off_is_an_alarm(site: Served) -> None:
    html = (await site.get("/models/m/experiments/breached")).text
    assert 'class="srm alarm"' in html
    assert "do not trust it" in html
    assert "the store postgresql://… is gone" in html
    assert "onnx: errors 9 % &gt; 5 %" in html


async def test_a_ramp_and_a_bandit_say_what_moves_the_weights(site: Served) -> None:
    assert "1 % → 5 % now → 25 % → 50 %" in text((await site.get("/models/m/experiments/ramp")).text)
    assert "thompson on correct, at least 5 % each" in text((await site.get("/models/m/experiments/bandit")).text)


async def test_a_guardrail_that_is_crossed_is_marked(site: Served) -> None:
    kept = msgspec.structs.replace(
        site.desk.kept["which-runtime"], guardrails=Guardrails(0.001, 1.5, 10.0, None, 0.0001)
    )
    site.desk.kept["which-runtime"] = kept
    seen = text((await site.get(RUNNING)).text)
    assert "errors 0.1 % tf 1.20 % over, onnx 1.20 % over" in seen
    assert "p99 latency 10 ms tf 20.4 ms over" in seen
    assert "p99 latency to control's 1.5 × onnx 1.00 ×" in seen
    assert "shadow's disagreement 0.01 % shadow 0.250 % over" in seen


@pytest.mark.parametrize("verdict", list(Verdict))
async def test_every_verdict_is_a_word(site: Served, verdict: Verdict) -> None:
    kept = site.desk.kept["which-runtime"]
    found = msgspec.structs.replace(analysis(kept, 1000), verdicts={"onnx": verdict})
    site.desk.views["which-runtime"] = view(kept, 1000, analysis=found)
    assert f"onnx {verdict}" in text((await site.get(RUNNING)).text)


async def test_estimates_that_are_not_known_are_dashes(site: Served) -> None:
    kept = site.desk.kept["which-runtime"]
    unknown = Estimate(None, None, None)
    found = analysis(kept, 1000)
    found = msgspec.structs.replace(
        found,
        metrics=tuple(msgspec.structs.replace(each, estimate=unknown, bayes=None) for each in found.metrics),
        comparisons=tuple(
            msgspec.structs.replace(each, difference=unknown, ratio=unknown) for each in found.comparisons
        ),
    )
    site.desk.views["which-runtime"] = view(kept, 1000, analysis=found)
    site.desk.all_looks["which-runtime"] = [
        msgspec.structs.replace(each, estimate=unknown, difference=unknown) for each in looks(kept, 3)
    ]
    html = (await site.get(RUNNING)).text
    assert "chart forest" not in html
    assert "chart over-time" not in html


async def test_where_the_store_is_gone_the_rest_is_shown(site: Served) -> None:
    site.desk.fails = {name: BackendUnavailable("the store cannot be read") for name in ("looks", "events")}
    answer = await site.get(RUNNING)
    assert answer.status_code == 200
    seen = text(answer.text)
    assert "the pictures over time cannot be drawn: the store cannot be read" in seen
    assert "What was changed cannot be told: the store cannot be read" in seen
    assert "−0.900 ms" in seen


async def test_an_experiment_that_cannot_be_viewed_does_not_take_the_lists_along(site: Served) -> None:
    site.desk.fails = {"view": BackendUnavailable("its evidence is being read")}
    for path in ("/", "/experiments", "/models/m"):
        assert "its evidence is being read" in (await site.get(path)).text
    assert (await site.get(RUNNING)).status_code == 502


async def test_what_answers_are_like_is_shown_by_variant_and_output(site: Served) -> None:
    seen = text((await site.get(RUNNING)).text)
    assert "onnx, probabilities 32,000 0.100 0.280 0 1.000 0: 320, 1: 320" in seen
    assert "11: 320 …" in seen
