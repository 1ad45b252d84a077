"""A handler for TorchServe: `{"x": [numbers]}` to `{"y": [numbers]}`, what it gives together as one batch."""

from pathlib import Path
from typing import Any

import torch

torch.set_num_threads(1)


class Handler:
    """The model, as TorchServe's documentation has people write one."""

    def initialize(self, context: Any) -> None:
        """Called once."""
        folder = Path(context.system_properties["model_dir"])
        self._model: Any = torch.jit.load(folder / "model.pt")  # type: ignore[no-untyped-call]

    @torch.inference_mode()
    def handle(self, requests: list[dict[str, Any]], _context: Any) -> list[dict[str, Any]]:
        """Called with the bodies of a batch."""
        rows = torch.tensor([each["body"]["x"] for each in requests], dtype=torch.float32)
        return [{"y": row} for row in self._model(rows).tolist()]
