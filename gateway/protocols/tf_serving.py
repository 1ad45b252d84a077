"""TensorFlow Serving's protocol: its codes for our errors, its words for what is not there, its default signature."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import orjson

from adapters import errors as floor
from adapters.base import Endpoint
from adapters.errors import InvalidInput, ServingError
from gateway import errors
from gateway.errors import ModelNotFound
from gateway.types import Target

STATUS: Final[Mapping[type[ServingError], int]] = {
    floor.InvalidInput: 400,
    errors.NotAllowed: 403,
    errors.ModelNotFound: 404,
    errors.Conflict: 409,
    errors.RequestTooLarge: 413,
    errors.Overloaded: 429,
    floor.InferenceFailed: 500,
    errors.Unsupported: 501,
    floor.BackendUnavailable: 503,
    floor.BackendDied: 503,
    errors.VersionNotReady: 503,
    floor.LoadFailed: 503,
    floor.DeadlineExceeded: 504,
}
"""Every error's HTTP status; a test keeps it complete."""

DEFAULT_SIGNATURE: Final = "serving_default"
"""The signature that a request means where it names none, and the one that models of other backends have."""


def encode_error(error: ServingError) -> bytes:
    """The JSON body of an error."""
    return orjson.dumps({"error": str(error)})


def in_their_words(target: Target, error: ModelNotFound) -> ServingError:
    """What TF Serving's clients are told of a target that is not there: its own text, then ours."""
    if target.label is not None:
        return InvalidInput(f"Unrecognized servable version label: {target.label:.64}; {error}")
    model = segment(target)
    wanted = f"Latest({model})" if target.version is None else f"Specific({model}, {target.version})"
    return ModelNotFound(f"Servable not found for request: {wanted}; {error}")


def segment(target: Target) -> str:
    """A target's model segment, as requests name it: `digits` or `digits@tflite`."""
    return target.model if target.backend is None else f"{target.model}@{target.backend}"


def takes_examples(endpoint: Endpoint) -> bool:
    """Whether a deployment takes tf.Examples, which only TF Serving reads."""
    return endpoint.backend == "tfserving"


def check_signature_name(name: str) -> None:
    """Raises InvalidInput unless it is one that every deployment has: the default one, or none at all."""
    if name not in ("", DEFAULT_SIGNATURE):
        raise InvalidInput(
            f'Serving signature name: "{name:.80}" not found in signature def; '
            f'a deployment of this backend has one, "{DEFAULT_SIGNATURE}"'
        )
