"""An experiment's file: every mistake is named by its key, and what Torii changes leaves people's lines alone."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from adapters.errors import InvalidInput
from gateway.config import ConfigError
from gateway.experiments import editing
from gateway.experiments.definition import (
    Better,
    Current,
    Definition,
    Filter,
    Guardrails,
    Kind,
    Metric,
    Policy,
    Ramp,
    Shadow,
    Standing,
    Variant,
)
from gateway.experiments.files import change_experiment, describe, kept, new_experiment, read_experiment
from gateway.experiments.files import write_experiment as write
from gateway.experiments.form import KEPT, ExperimentForm
from gateway.experiments.metric_form import AUTOMATIC
from gateway.types import SLOTS, Target

FILE = "digits/experiments/x.toml"

TWO = """
# Who wins?
[variants.tf]
target = "digits/1@tfserving"   # as it is
weight = 50
[variants.onnx]
target = "digits/1@onnxruntime" # as it could be
weight = 50
"""

ALL = """
description = "Is ONNX Runtime as good?"
owner = "ml-team"
state = "running"
control = "onnx"
units = ["header:X-User", "cookie:Session", "parameter:unit id"]
salt = "pepper"
confidence = 0.9
start = 2026-12-01T09:00:00Z
stop = 2026-12-08T09:00:00+01:00
promote = true
promote_label = "live"
attribution_s = 60
overrides = true
run = 3
started = 2026-12-01T09:00:01.5Z
ended = 2026-12-02T00:00:00Z
reason = "p99"
winner = "tf"

[variants.tf]
target = "digits/1@tfserving"
weight = 20
[variants.onnx]
target = "digits/2"
weight = 70
[variants.lite]
target = "canary@tflite"
weight = 10.0

[filter.headers]
X-Country = "de"
[filter.parameters]
tier = "gold"
level = 3
[testers]
"Alice Z." = "onnx"

[metrics.latency_ms]
quantile = 0.99
margin = 0.1
[metrics.correct]
kind = "binary"
[metrics.basket]
kind = "mean"
better = "lower"
low = 0
high = 1000
margin = 0.02
[metrics.wait]
kind = "quantile"

[guardrails]
error_rate = 0.1
p99_ratio = 2
nan_rate = false

[ramp]
steps = [1, 5.5, 100]
hold_s = 30

[policy]
sticky = false

[shadow]
target = "canary"
percent = 10

[current]
declared = {tf = 20, onnx = 70, lite = 10}
weights = {tf = 1, onnx = 99, lite = 0}
slots = [[990000, "onnx"], [1000000, "tf"]]
epoch = 4
step = 1
since = 2026-12-01T09:10:00Z
reason = "ramp"
"""

EVERYTHING = Definition(
    model="digits",
    name="x",
    variants=(
        Variant("tf", Target("digits", 1, None, "tfserving"), 20),
        Variant("onnx", Target("digits", 2), 70),
        Variant("lite", Target("digits", None, "canary", "tflite"), 10),
    ),
    control="onnx",
    state=Standing.RUNNING,
    description="Is ONNX Runtime as good?",
    owner="ml-team",
    salt="pepper",
    units=("header:x-user", "cookie:Session", "parameter:unit id"),
    where=Filter({"x-country": "de"}, {"tier": "gold", "level": 3}),
    metrics=(
        Metric("latency_ms", Kind.QUANTILE, Better.LOWER, 0.1, 0.99),
        Metric("errors", Kind.BINARY, Better.LOWER, 0.01),
        Metric("correct", Kind.BINARY, Better.HIGHER, 0.01),
        Metric("basket", Kind.MEAN, Better.LOWER, 0.02, low=0, high=1000),
        Metric("wait", Kind.QUANTILE, Better.HIGHER, 0.05, 0.95),
    ),
    guardrails=Guardrails(error_rate=0.1, p99_ratio=2, nan_rate=None),
    confidence=0.9,
    start=datetime(2026, 12, 1, 9, tzinfo=UTC),
    stop=datetime(2026, 12, 8, 8, tzinfo=UTC),
    ramp=Ramp((1, 5.5, 100), 30, 1000),
    policy=Policy(sticky=False),
    shadow=Shadow(Target("digits", None, "canary"), 10),
    testers={"Alice Z.": "onnx"},
    overrides=True,
    promote=True,
    promote_label="live",
    attribution_s=60,
    run=3,
    started=datetime(2026, 12, 1, 9, 0, 1, 500_000, tzinfo=UTC),
    ended=datetime(2026, 12, 2, tzinfo=UTC),
    reason="p99",
    winner="tf",
    current=Current(
        {"tf": 20, "onnx": 70, "lite": 10},
        {"tf": 1, "onnx": 99, "lite": 0},
        ((990_000, "onnx"), (1_000_000, "tf")),
        epoch=4,
        step=1,
        since=datetime(2026, 12, 1, 9, 10, tzinfo=UTC),
        reason="ramp",
    ),
)


def read(text: str) -> Definition:
    return read_experiment(text, "digits", "x", FILE)


def without_kept(document: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key not in KEPT}


def test_every_key_is_read() -> None:
    assert read(ALL) == EVERYTHING


def test_two_variants_are_enough_and_everything_else_has_a_default() -> None:
    definition = read(TWO)
    assert definition == Definition(
        "digits",
        "x",
        (
            Variant("tf", Target("digits", 1, None, "tfserving"), 50),
            Variant("onnx", Target("digits", 1, None, "onnxruntime"), 50),
        ),
        "tf",
        metrics=AUTOMATIC,
    )


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ("bad = 1", "bad: this key is unknown, found 1"),
        ('control = "tflite"', "control: expected one of the variants tf, onnx, found 'tflite'"),
        ('units = ["unit"]', "units.0: expected header:NAME, parameter:NAME or cookie:NAME, found 'unit'"),
        ('units = ["header:a b"]', "units.0: expected header:NAME"),
        ('units = ["cookie:a;b"]', "units.0: expected header:NAME"),
        ('units = "header:a"', "units: Input should be a valid list"),
        ("confidence = 0.4", "confidence: Input should be greater than or equal to 0.5, found 0.4"),
        ("confidence = nan", "confidence: Input should be "),
        ("confidence = true", "confidence: Input should be a valid number, found True"),
        ("attribution_s = 0", "attribution_s: Input should be greater than 0, found 0"),
        ("start = 2026-12-01", "start: expected a time with its offset from UTC, as in 2026-12-01T09:00:00Z"),
        ("start = 2026-12-01T09:00:00", "start: expected a time with its offset from UTC"),
        (
            "start = 2026-12-02T00:00:00Z\nstop = 2026-12-01T00:00:00Z",
            "stop: expected after start = 2026-12-02T00:00:00+00:00, found 2026-12-01T00:00:00+00:00",
        ),
        ('overrides = "yes"', "overrides: Input should be a valid boolean, found 'yes'"),
        ('state = "paused"', "state: Input should be 'draft', 'running' or 'stopped', found 'paused'"),
        ('promote_label = "Live"', "promote_label: expected a name of a-z 0-9 . _ -"),
        ('testers = {alice = "z"}', "testers.alice: expected one of the variants tf, onnx, found 'z'"),
        ('filter.headers = {"a b" = "1"}', "filter.headers.a b.[key]: expected a header's name"),
        ('filter.headers = {a = "1", A = "2"}', "filter.headers: expected each header once: their case does not count"),
        ("filter.parameters = {a = inf}", "filter.parameters.a: expected a text of 1000 characters at most"),
        ("filter.parameters = {a = []}", "filter.parameters.a: expected a text of 1000 characters at most"),
        ('metrics.m.better = "lower"', "metrics: m: kind: expected one of mean, binary, quantile, conversion"),
        ('metrics.m.kind = "median"', "metrics.m.kind: Input should be 'mean', 'binary', 'quantile' or 'conversion'"),
        ('metrics.m = {kind = "mean", margin = 0}', "metrics.m.margin: Input should be greater than 0, found 0"),
        ('metrics.m = {kind = "mean", quantile = 0.5}', "metrics.m: quantile: only a metric of kind"),
        ('metrics.m = {kind = "quantile", quantile = 1}', "metrics.m.quantile: Input should be less than 1, found 1"),
        ('metrics.m = {kind = "mean", low = 2, high = 1}', "metrics.m: low: expected less than high = 1, found 2"),
        ('metrics.m = {kind = "binary", low = 0}', "metrics.m: low, high: values of a binary metric are 0 or 1"),
        ('metrics.m = {kind = "conversion", margin = 1.0}', "metrics.m: margin: of a conversion metric it is a part"),
        ('metrics."M m" = {kind = "mean"}', "metrics.M m.[key]: expected a name of a-z 0-9"),
        ('metrics.errors.kind = "mean"', "metrics: errors: kind, better: errors is always binary, and lower is better"),
        ("metrics.errors.quantile = 0.5", "metrics: errors: quantile: errors has none"),
        ("metrics.errors.margin = 1", "metrics: errors: margin: of errors it is a part of 1"),
        ("metrics.latency_ms.low = 0", "metrics: latency_ms: low, high: latency_ms is measured"),
        ("guardrails.error_rate = 1.5", "guardrails.error_rate: Input should be less than or equal to 1, found 1.5"),
        ("guardrails.p99_ratio = true", "guardrails.p99_ratio: Input should be a valid number, found True"),
        ("guardrails.p99_ms = 0", "guardrails.p99_ms: Input should be greater than 0, found 0"),
        ("ramp.steps = []", "ramp.steps: List should have at least 1 item"),
        ("ramp.steps = [5, 1]", "ramp.steps: expected percentages in ascending order, as in [1, 5, 25, 50]"),
        ("ramp.steps = [5, 5]", "ramp.steps: expected percentages in ascending order"),
        ("ramp.steps = [0, 5]", "ramp.steps.0: Input should be greater than 0, found 0"),
        ("ramp.steps = [5, 101]", "ramp.steps.1: Input should be less than or equal to 100, found 101"),
        ("ramp.hold_s = 5", "ramp.steps: Field required"),
        ('policy.kind = "ucb"', "policy.kind: Input should be 'fixed', 'thompson' or 'exp3', found 'ucb'"),
        ('policy.kind = "exp3"', "policy.metric: expected one of the metrics latency_ms, errors, found ''"),
        (
            'policy = {kind = "thompson", metric = "errors", floor = 51}',
            "policy.floor: expected at most 50, for 2 variants, found 51",
        ),
        (
            'policy = {kind = "thompson", metric = "errors"}\nramp.steps = [5]',
            'ramp: policy.kind = "thompson" sets the weights already; keep one of the two',
        ),
        ('shadow.target = "digits/1@tfserving"', "shadow.target: expected another than control's, found 'digits/1@tf"),
        ('shadow = {target = "canary", percent = 0}', "shadow.percent: Input should be greater than 0, found 0"),
        ("run = -1", "run: Input should be greater than or equal to 0, found -1"),
        (
            'current = {declared = {tf = 1}, weights = {tf = 1}, slots = [[5, "tf"]]}',
            f"current.slots: expected ends in ascending order, the last of them {SLOTS}",
        ),
        (
            'current = {declared = {tf = 1}, weights = {tf = 1}, slots = [[5, "tf"], [4, "tf"], [1000000, "tf"]]}',
            f"current.slots: expected ends in ascending order, the last of them {SLOTS}",
        ),
        (
            'current = {declared = {tf = 50, onnx = 50}, weights = {tf = 100, onnx = 0}, slots = [[1000000, "a"]]}',
            "current: expected weights and slots of the variants tf, onnx; remove it, and it comes anew",
        ),
        ("a = [", "not TOML: "),
    ],
)
def test_a_mistake_names_file_key_what_was_expected_and_what_was_found(more: str, text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        read(more + TWO)
    assert f"{FILE}: {text}" in str(raised.value)


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("weight = 50\n[", "weight = 49.9\n[", "variants: expected weights that sum to 100, found 99.9 (tf 49.9"),
        ("weight = 50\n[", "weight = -50\n[", "variants.tf.weight: Input should be greater than or equal to 0"),
        ("weight = 50\n[", "weight = nan\n[", "variants.tf.weight: Input should be "),
        ("weight = 50\n[", "[", "variants.tf.weight: Field required"),
        ("weight = 50\n[", 'weight = "50"\n[', "variants.tf.weight: Input should be a valid number, found '50'"),
        ("variants.tf", "variants.TF", "variants.TF.[key]: expected a name of a-z 0-9"),
        ("variants.tf", "variant.tf", "variants: Dictionary should have at least 2 items"),
        ("digits/1@tf", "other/1@tf", "variants.tf.target: expected a version of model 'digits', whose experiment"),
        ("digits/1@tfserving", "digits", "variants.tf.target: expected a version or a label, as in digits/1"),
        ("digits/1@tfserving", "digits@tflite", "variants.tf.target: expected a version or a label, as in digits/1"),
        ("digits/1@tfserving", "2", "variants.tf.target: expected a version or a label, as in digits/2"),
        ("digits/1@tfserving", "digits/canary", "variants.tf.target: expected digits/VERSION@BACKEND, digits/VERSION,"),
        ("digits/1@tfserving", "../../etc", "variants.tf.target: expected digits/VERSION@BACKEND"),
    ],
)  # fmt: skip
def test_variants_are_of_this_model_pinned_different_and_share_all_of_the_traffic(
    old: str, new: str, text: str
) -> None:
    assert old in TWO
    with pytest.raises(ConfigError) as raised:
        read(TWO.replace(old, new, 1))
    assert f"{FILE}: {text}" in str(raised.value)


def test_weights_may_miss_the_sum_by_what_thirds_do() -> None:
    text = "".join(f'[variants.v{each}]\ntarget = "digits/{each}"\nweight = 33.3333333\n' for each in (1, 2, 3))
    assert len(read(text).variants) == 3


def test_there_are_at_most_sixteen_variants() -> None:
    text = "".join(f'[variants.v{each}]\ntarget = "digits/{each}"\nweight = {100 / 17}\n' for each in range(1, 18))
    with pytest.raises(ConfigError, match="variants: Dictionary should have at most 16 items"):
        read(text)


def test_a_ramp_needs_a_weight_to_grow_to() -> None:
    text = TWO.replace("weight = 50", "weight = 100", 1).replace("weight = 50", "weight = 0")
    assert read(text)
    with pytest.raises(ConfigError, match="ramp: expected a weight for another variant than control"):
        read("ramp.steps = [5]" + text)


@pytest.mark.parametrize("name", ["X", "a b", "../x", "", "x" * 65])
def test_an_experiment_is_named_as_models_are(name: str) -> None:
    with pytest.raises(ConfigError, match=r"its name: expected a-z 0-9 \. _ - \(64 at most\)"):
        read_experiment(TWO, "digits", name, FILE)


def test_what_torii_keeps_of_earlier_variants_does_no_harm() -> None:
    current = 'current = {declared = {old = 100}, weights = {old = 100}, slots = [[1000000, "old"]]}\nwinner = "old"'
    assert read(current + TWO).winner == "old"


def test_a_document_of_json_makes_a_file_that_says_the_same() -> None:
    document = without_kept(describe(EVERYTHING))
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    made = read(new_experiment(document, "digits", "x"))
    untouched = Definition(model="", name="", variants=(), control="")
    assert made == msgspec.structs.replace(EVERYTHING, **{each: getattr(untouched, each) for each in KEPT})
    assert "start = 2026-12-01T09:00:00Z" in new_experiment(document, "digits", "x").splitlines()


def test_a_new_experiment_leaves_out_what_is_null_and_what_is_not_said() -> None:
    variants = {"a": {"target": "stable", "weight": 100}, "b": {"target": "canary", "weight": 0}}
    text = new_experiment({"variants": variants, "ramp": None, "state": "draft"}, "digits", "x")
    assert tomllib.loads(text) == {"variants": variants}


@pytest.mark.parametrize("key", KEPT)
def test_callers_do_not_write_what_torii_keeps(key: str) -> None:
    changes = {key: describe(EVERYTHING)[key]}
    with pytest.raises(InvalidInput, match=f"x: {key}: Torii keeps this key"):
        new_experiment(tomllib.loads(TWO) | changes, "digits", "x")
    with pytest.raises(InvalidInput, match=f"x: {key}: Torii keeps this key"):
        change_experiment(TWO, changes, "digits", "x")
    with pytest.raises(InvalidInput, match=f"x: {key}: Torii keeps this key"):
        change_experiment(TWO, {key: None}, "digits", "x")


def test_a_change_of_weights_leaves_comments_and_order() -> None:
    changed = change_experiment(TWO, {"weights": {"tf": 90, "onnx": 10}}, "digits", "x")
    before, after = TWO.splitlines(), changed.splitlines()
    assert [(old, new) for old, new in zip(before, after, strict=True) if old != new] == [
        ("weight = 50", "weight = 90"),
        ("weight = 50", "weight = 10"),
    ]


def test_a_change_sets_merges_and_removes_keys() -> None:
    changes = {
        "overrides": False,
        "stop": None,
        "start": "2027-01-01T00:00:00Z",
        "guardrails": {"p99_ms": 50, "p99_ratio": None},
        "ramp": None,
        "shadow": {"percent": 1},
        "variants": {"lite": None, "tf": {"weight": 30}},
    }
    definition = read(change_experiment(ALL, changes, "digits", "x"))
    assert (definition.overrides, definition.stop, definition.ramp) == (False, None, None)
    assert definition.start == datetime(2027, 1, 1, tzinfo=UTC)
    assert definition.guardrails == Guardrails(error_rate=0.1, p99_ms=50, nan_rate=None)
    assert definition.shadow == Shadow(Target("digits", None, "canary"), 1)
    assert [(each.name, each.weight) for each in definition.variants] == [("tf", 30), ("onnx", 70)]
    assert definition.current == EVERYTHING.current


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"weights": {"tf": 90}}, "variants: expected weights that sum to 100, found 140 (tf 90, onnx 50)"),
        ({"weights": {"lite": 5}}, "weights: expected variants of tf, onnx, found 'lite'"),
        ({"weights": [90, 10]}, 'weights: expected percentages by variant, as in {"a": 90, "b": 10}'),
        ({"weights": {"tf": float("nan")}}, "variants.tf.weight: Input should be "),
        ({"variants": 5}, "variants: Input should be a valid dictionary, found 5"),
        ({"variants": 5, "weights": {"tf": 5}}, "weights: expected percentages by variant"),
        ({"variants": {"tf": {"target": "digits"}}}, "variants.tf.target: expected a version or a label"),
        ({"stop": "tomorrow"}, "stop: expected a time with its offset from UTC"),
        ({"hidden": {"deep": 1}}, "hidden: this key is unknown"),
        ({"description": "x" * 10_001}, "description: String should have at most 10000 characters"),
    ],
)
def test_a_wrong_change_is_the_callers_mistake(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        change_experiment(TWO, changes, "digits", "x")
    assert f"x: {text}" in str(raised.value)


def test_a_change_of_a_wrong_file_names_the_file() -> None:
    with pytest.raises(ConfigError, match=FILE):
        change_experiment("variants = 5", {"overrides": True}, "digits", "x")


def test_what_torii_keeps_is_written_and_read_again_over_and_over_without_growth() -> None:
    text = TWO
    assert EVERYTHING.current is not None
    for epoch in range(30):
        weights = {"tf": float(epoch), "onnx": 100.0 - epoch}
        current = Current({"tf": 50, "onnx": 50}, weights, ((SLOTS // 2, "tf"), (SLOTS, "onnx")), epoch, 0, None, "ok")
        wanted = msgspec.structs.replace(read(text), state=Standing.RUNNING, run=1, current=current)
        text = write(text, kept(wanted), FILE)
        assert read(text) == wanted
        if epoch == 0:
            size = len(text)
    assert abs(len(text) - size) <= 10  # of two digits
    assert 'slots = [[500000, "tf"], [1000000, "onnx"]]' in text.splitlines()
    assert set(TWO.splitlines()) <= set(text.splitlines())


def test_what_torii_keeps_no_more_goes() -> None:
    definition = msgspec.structs.replace(
        EVERYTHING, state=Standing.STOPPED, run=0, started=None, ended=None, reason="", winner="", current=None
    )
    assert tomllib.loads(write(ALL, kept(definition), FILE)).keys() & set(KEPT) == {"state"}
    assert read(write(ALL, kept(definition), FILE)) == definition


def test_the_current_weights_are_replaced_as_a_whole() -> None:
    current = Current({"tf": 1}, {"tf": 1}, ())
    assert read(write(ALL, kept(msgspec.structs.replace(EVERYTHING, current=current)), FILE)).current == current


@pytest.mark.parametrize(
    "text",
    [
        'variants = {tf = {target = "digits/1", weight = 50}, onnx = {target = "digits/2", weight = 50}}',
        'variants.tf = {target = "digits/1", weight = 50}\nvariants.onnx.target = "digits/2"\n'
        "variants.onnx.weight = 50",
        '[variants]\ntf = {target = "digits/1", weight = 50}\n[variants.onnx]\ntarget = "digits/2"\nweight = 50',
        '[variants.tf]\ntarget = "digits/1"\nweight = 50\n[testers]\n[variants.onnx]\ntarget = "digits/2"\nweight = 50',
        '[variants.tf]\r\ntarget = "digits/1"\r\nweight = 50\r\n'
        '[variants.onnx]\r\ntarget = "digits/2"\r\nweight = 50\r\n',
    ],
)  # fmt: skip
def test_every_form_that_people_write_can_be_changed(text: str) -> None:
    current = Current({"tf": 50, "onnx": 50}, {"tf": 100, "onnx": 0}, ((SLOTS, "tf"),))
    changed = change_experiment(text, {"weights": {"tf": 90, "onnx": 10}, "guardrails": {"p99_ms": 5}}, "digits", "x")
    wanted = msgspec.structs.replace(read(changed), state=Standing.RUNNING, current=current)
    assert [each.weight for each in wanted.variants] == [90, 10]
    assert read(write(changed, kept(wanted), FILE)) == wanted


def test_a_file_that_would_be_too_large_to_be_read_again_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(editing, "MAX_CONFIG_BYTES", len(TWO) + 10)
    with pytest.raises(ConfigError, match=f"expected at most {len(TWO) + 10} bytes, and it would be larger"):
        write(TWO, {"reason": "too much"}, FILE)
    with pytest.raises(InvalidInput, match=f"expected at most {len(TWO) + 10} bytes"):
        change_experiment(TWO, {"owner": "us and them"}, "digits", "x")
    assert write(TWO, {"run": 1}, FILE)


def test_what_toml_cannot_hold_is_not_written() -> None:
    with pytest.raises(ConfigError, match="holds what TOML cannot"):
        write(TWO, {"reason": "\ud800"}, FILE)
    with pytest.raises(ConfigError, match="not TOML"):
        write("a = [", {}, FILE)


def test_nesting_without_end_is_a_mistake_too() -> None:
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    for document in ({"units": deep}, {"variants": deep}, {"hidden": {"deep": deep}}):
        with pytest.raises(InvalidInput):
            new_experiment(document, "digits", "x")
        with pytest.raises(InvalidInput):
            change_experiment(TWO, document, "digits", "x")
    with pytest.raises(ConfigError):
        read("units = " + "[" * 100_000)


def keys(form: type[BaseModel], under: str = "") -> Iterator[str]:
    """Every key of a form, as documentation writes it: `variants.NAME.weight`."""
    named = {"variants": "NAME", "metrics": "NAME", "headers": "NAME", "parameters": "NAME", "testers": "UNIT"}
    for key, field in form.model_fields.items():
        tables = [each for each in _types(field.annotation) if isinstance(each, type) and issubclass(each, BaseModel)]
        path = f"{under}{key}" + (f".{named[key]}" if key in named else "")
        if tables:
            yield from keys(tables[0], f"{path}.")
        else:
            yield path


def _types(annotation: Any) -> list[Any]:
    return [annotation, *(inner for each in get_args(annotation) for inner in _types(each))]


def test_every_key_is_documented_and_no_other() -> None:
    text = (Path(__file__).resolve().parents[3] / "docs/model-repository.md").read_text()
    section = text.partition("\n## experiments/\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([A-Za-z0-9_.]+)` \|", section.partition("\n### ")[0], re.MULTILINE)
    assert sorted(rows) == sorted(keys(ExperimentForm))
    for toml in re.findall(r"```toml\n(.*?)```", section, re.DOTALL):
        assert read(toml)


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["digits/1", "canary@tflite", "header:a", "2026-12-01T09:00:00Z", "mean", "thompson", "errors"])
    | st.sampled_from([10**400, -(10**400), "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59:59.5"])
    | st.datetimes(timezones=st.just(UTC) | st.none())
)
ANYTHING = st.recursive(
    SCALARS, lambda one: st.lists(one, max_size=3) | st.dictionaries(st.text(max_size=5), one, max_size=3)
)
TABLES = {key: value for key, value in tomllib.loads(ALL).items() if isinstance(value, dict)}


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Right documents with some of their keys, at any depth, made into anything."""
    document = without_kept(describe(EVERYTHING)) if draw(st.booleans()) else describe(EVERYTHING)
    for _ in range(draw(st.integers(1, 3))):
        table: Any = document
        while True:
            key = draw(st.sampled_from(sorted(table)) | st.text(max_size=5)) if table else draw(st.text(max_size=5))
            if isinstance(table.get(key), dict) and draw(st.booleans()):
                table = table[key]
                continue
            table[key] = draw(ANYTHING)
            break
    return document


@settings(max_examples=80, deadline=None)
@given(documents())
def test_no_document_makes_anything_but_a_file_that_is_read_again_or_a_mistake(document: dict[str, Any]) -> None:
    try:
        text = new_experiment(document, "digits", "x")
    except InvalidInput:
        return
    made = read(text)
    assert read(new_experiment(without_kept(describe(made)), "digits", "x")) == made


@settings(max_examples=80, deadline=None)
@given(documents() | st.dictionaries(st.sampled_from(["weights", "variants", "metrics"]), ANYTHING, max_size=2))
def test_no_change_makes_anything_but_a_file_that_is_read_again_or_a_mistake(changes: dict[str, Any]) -> None:
    try:
        changed = change_experiment(ALL, changes, "digits", "x")
    except InvalidInput:
        return
    assert read(changed).current == EVERYTHING.current


@settings(max_examples=80, deadline=None)
@given(
    st.text(max_size=60)
    | st.builds(lambda at, more: ALL[:at] + more + ALL[at:], st.integers(0, len(ALL)), st.text(max_size=5))
)
def test_no_text_makes_anything_but_a_definition_or_a_mistake(text: str) -> None:
    try:
        definition = read(text)
    except ConfigError:
        return
    assert read(write(text, kept(definition), FILE)) == definition


def test_two_variants_may_be_the_same_deployment_which_tests_the_test_itself() -> None:
    first, second = read(TWO.replace("1@onnxruntime", "1@tfserving")).variants
    assert first.target == second.target
