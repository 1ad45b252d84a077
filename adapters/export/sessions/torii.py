"""A model loaded by one of Torii's own runtimes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from adapters.base import Session
from adapters.export.sessions.session import Array, Tensor
from adapters.tensors import TensorSpec


class ToriiSession:
    """Measures what serves: the session that a worker would have."""

    def __init__(self, session: Session, path: Path) -> None:
        self.path = path
        self._session = session
        self.inputs = [_told(spec) for spec in session.signature.inputs]
        self.outputs = [_told(spec) for spec in session.signature.outputs]

    def run(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """See Measurable.run."""
        return self._session.run(inputs)


def _told(spec: TensorSpec) -> Tensor:
    return Tensor(spec.name, str(spec.datatype), spec.shape)
