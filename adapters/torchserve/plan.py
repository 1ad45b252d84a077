"""What the gateway and the handler inside TorchServe tell each other besides tensors."""

from __future__ import annotations

import msgspec

from adapters.tensors import Signature

PLAN_FILE = "plan.json"
MODEL_FILE = "model.pt"

DESCRIBE = b"describe"
"""The body of a prediction request that asks for a description; no frame begins with these bytes."""


class Plan(msgspec.Struct):
    """What the handler has to know; lies in the archive beside the model.

    `file` is the artifact's own name, for messages; `signature` is declared or read off the golden file;
    `workers` is how many processes share the cores; an answer beyond `max_answer_bytes` would cost TorchServe's worker
    its life. `threads` is None where each worker takes its share of the cores; `device` is as in model.toml, and empty
    where TorchServe may choose.
    """

    file: str
    signature: Signature | None
    workers: int
    max_answer_bytes: int
    threads: int | None = None
    device: str = ""


class Described(msgspec.Struct, tag=True):
    """The model is loaded."""

    signature: Signature


class Refused(msgspec.Struct, tag=True):
    """The file is no model that can be served."""

    reason: str


encode_plan = msgspec.json.Encoder().encode
decode_plan = msgspec.json.Decoder(Plan).decode
encode_description = msgspec.json.Encoder().encode
_descriptions: msgspec.json.Decoder[Described | Refused] = msgspec.json.Decoder(Described | Refused)
decode_description = _descriptions.decode
