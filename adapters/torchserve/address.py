"""Where a TorchServe answers, ours or somebody else's."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class TorchServeAddress:
    """Where a TorchServe answers.

    `token` opens inference, `management_token` management (None: the same one); `model_store` is its model store as
    this machine sees it, needed to register anything there.
    """

    inference_url: str
    management_url: str
    token: str | None = field(default=None, repr=False)
    model_store: Path | None = None
    management_token: str | None = field(default=None, repr=False)
