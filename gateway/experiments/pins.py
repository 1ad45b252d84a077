"""How an experiment's file names a deployment: `digits/1@tflite`, `digits/1`, or a label: `canary`, `canary@tflite`."""

from __future__ import annotations

import re

from gateway.types import Target

_NAME = r"[a-z0-9][a-z0-9._-]{0,63}"
_PIN = re.compile(
    rf"(?:(?P<model>{_NAME})/(?P<version>[1-9][0-9]{{0,17}})|(?P<label>{_NAME}))(?:@(?P<backend>{_NAME}))?"
)


def read_pin(text: object, model: str) -> Target:
    """What a target of an experiment of `model` says.

    Raises:
        ValueError: it is not of the form, of another model, or leaves the version open.
    """
    match = _PIN.fullmatch(text) if isinstance(text, str) else None
    if not match:
        raise ValueError(f"expected {model}/VERSION@BACKEND, {model}/VERSION, LABEL or LABEL@BACKEND")
    if match["version"]:
        if match["model"] != model:
            raise ValueError(f"expected a version of model '{model}', whose experiment this is")
        return Target(model, int(match["version"]), None, match["backend"])
    if match["label"] == model or match["label"].isdecimal():
        number = match["label"] if match["label"].isdecimal() else "1"
        raise ValueError(f"expected a version or a label, as in {model}/{number}: it must be clear what is compared")
    return Target(model, None, match["label"], match["backend"])


def write_pin(target: Target) -> str:
    """The inverse of `read_pin`."""
    named = f"{target.model}/{target.version}" if target.version is not None else target.label or target.model
    return f"{named}@{target.backend}" if target.backend else named
