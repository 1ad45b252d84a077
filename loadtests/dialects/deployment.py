"""A deployment's name in parts: `digits`, `digits/1`, `digits@tflite`, `digits/1@tflite`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_FORM: Final = re.compile(r"([a-z0-9][a-z0-9._-]{0,63})(?:/([0-9]{1,18}))?(?:@([a-z0-9][a-z0-9._-]{0,63}))?")


@dataclass(frozen=True, slots=True)
class Deployment:
    """What requests name; an empty version or backend is for the gateway to choose."""

    model: str
    version: str = ""
    backend: str = ""

    @classmethod
    def parse(cls, text: str) -> Deployment:
        """Raises ValueError where the text is no deployment's name."""
        match = _FORM.fullmatch(text)
        if match is None:
            raise ValueError(f"deployment: expected MODEL[/VERSION][@BACKEND], as `digits/1@tflite`, got {text!r:.200}")
        return cls(match[1], match[2] or "", match[3] or "")

    @property
    def name(self) -> str:
        """What stands where protocols have a model's name: `digits@tflite`."""
        return f"{self.model}@{self.backend}" if self.backend else self.model

    @property
    def pinned(self) -> bool:
        """Whether one deployment alone can answer, whose name `torii-served-by` has to be."""
        return bool(self.version and self.backend)
