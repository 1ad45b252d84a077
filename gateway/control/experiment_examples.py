"""What the control API's description shows of experiments: bodies and answers, by example."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_DOCUMENT: Final[dict[str, Any]] = {
    "description": "Is ONNX Runtime as good as TF Serving for digits?",
    "owner": "ml-team",
    "variants": {
        "tf": {"target": "digits/1@tfserving", "weight": 50},
        "onnx": {"target": "digits/1@onnxruntime", "weight": 50},
    },
    "metrics": {"correct": {"kind": "binary", "better": "higher", "margin": 0.01}},
}
_EXPERIMENT = {"model": "digits", "name": "onnx-or-tf", "state": "running", "control": "tf", "run": 1, **_DOCUMENT}
_AT = "2026-12-01T09:05:00Z"
_NO_DIFFERENCE = {"value": 0.002, "low": -0.006, "high": 0.009}

_OUTCOME: Final[dict[str, Any]] = {"request": "rJ2…", "metric": "correct", "value": 1, "key": "order-17"}
_OF_A_UNIT: Final[dict[str, Any]] = {
    "experiment": "digits/onnx-or-tf", "unit": "user-4711", "metric": "correct", "value": 0, "at": _AT
}  # fmt: skip

_ANSWERS: Final[Mapping[str, Any]] = {
    "experiment": _EXPERIMENT,
    "experiments": {"experiments": [_EXPERIMENT], "problems": []},
    "status": {
        "definition": _EXPERIMENT,
        "at": _AT,
        "variants": [
            {
                "name": "onnx", "target": "digits/1@onnxruntime", "control": False, "declared_weight": 50, "weight": 50,
                "share": 0.499, "requests": 29_970, "errors": 0, "examined": 1873, "not_finite": 0,
                "served_by": ["digits/1@onnxruntime"], "units": 4012,
            },
        ],
        "analysis": {
            "metrics": [],
            "comparisons": [
                {
                    "metric": "correct", "variant": "onnx", "difference": _NO_DIFFERENCE,
                    "ratio": {"value": 1.002, "low": 0.994, "high": 1.009}, "p_value": 1.0, "p_adjusted": 1.0,
                    "verdict": "no practical difference", "words": "within 0.01 either way", "needed": 0, "eta_s": 0,
                },
            ],
            "sample_ratio": {"p_value": 1.0, "alarm": False, "expected": {"tf": 50, "onnx": 50},
                             "observed": {"tf": 4030, "onnx": 4012}, "words": ""},
            "verdicts": {"onnx": "no practical difference"},
            "words": "onnx: no practical difference from tf",
        },
        "shadow": None,
        "counters": {},
        "problems": [],
    },
    "looks": {
        "looks": [
            {"at": _AT, "metric": "correct", "variant": "onnx", "count": 29_970, "estimate": _NO_DIFFERENCE,
             "difference": _NO_DIFFERENCE, "p_value": 1.0, "weight": 50},
        ]
    },
    "events": {
        "events": [
            {"number": 7, "at": _AT, "who": "alice", "action": "start", "model": "digits", "experiment": "onnx-or-tf",
             "before": {"state": "draft"}, "after": {"state": "running", "run": 1}, "reason": ""},
        ]
    },
    "receipt": {
        "accepted": 2, "duplicates": 0, "sampled_out": 0,
        "refused": [{"index": 1, "error": "value: expected a finite number, or true or false, got None"}],
    },
}  # fmt: skip


def answer(name: str | None) -> dict[int | str, dict[str, Any]]:
    """What the description says of a route's answer; None is a new experiment's."""
    example, status = (_EXPERIMENT, 201) if name is None else (_ANSWERS[name], 200)
    return {status: {"content": {"application/json": {"example": example}}}}


def _body(examples: Mapping[str, Any], schema: Mapping[str, Any], required: bool = True) -> dict[str, Any]:
    shown = {name: {"value": value} for name, value in examples.items()}
    content = {"application/json": {"schema": {"type": "object", **schema}, "examples": shown}}
    return {"requestBody": {"required": required, "content": content}}


def _texts(*keys: str) -> dict[str, Any]:
    return {"properties": {key: {"type": "string", "maxLength": 1000} for key in keys}, "additionalProperties": False}


BODIES: Final[Mapping[str, dict[str, Any]]] = {
    "create": _body({"two backends": _DOCUMENT}, {"required": ["variants"]}),
    "set": _body(
        {
            "weights": {"weights": {"tf": 90, "onnx": 10}},
            "a guardrail": {"guardrails": {"p99_ratio": 2}},
            "no ramp": {"ramp": None},
        },
        {},
    ),
    "stop": _body({"why": {"reason": "the new year's sale begins"}}, _texts("reason"), required=False),
    "promote": _body({"onnx": {"variant": "onnx"}}, {**_texts("variant"), "required": ["variant"]}),
}

OUTCOMES: Final = _body(
    {
        "of a request": _OUTCOME,
        "of a unit": _OF_A_UNIT,
        "several": {"outcomes": [_OUTCOME, _OF_A_UNIT]},
    },
    {},
)
OUTCOMES["requestBody"]["content"]["application/json"]["schema"] = {"type": ["object", "array"]}
