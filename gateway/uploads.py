"""Models that came with a load by name: written to a private folder, and removed once nothing is served from it."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

from gateway.repository import ModelEntry, scan_model


class Uploads:
    """Writes uploads below one folder, which is made when it is needed. What it does blocks: it is for threads."""

    def __init__(self, root: Path) -> None:
        """`root` is the gateway's alone."""
        self._root = root
        self._numbers = itertools.count(1)

    def write(self, model: str, files: Mapping[PurePosixPath, bytes]) -> ModelEntry:
        """Put an upload into place as a whole; raises OSError, and leaves nothing behind then."""
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = self._root / str(next(self._numbers))
        staged = folder.with_suffix(".staged")
        try:
            for path, content in files.items():
                (staged / path).parent.mkdir(parents=True, exist_ok=True)
                (staged / path).write_bytes(content)
            staged.rename(folder)
            return _complete(scan_model(model, folder))
        except OSError:
            shutil.rmtree(staged, ignore_errors=True)
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def remove(self, upload: ModelEntry) -> None:
        """Remove what `write` made."""
        shutil.rmtree(upload.path, ignore_errors=True)


def _complete(upload: ModelEntry) -> ModelEntry:
    # Nobody writes there any more: no need to wait for the files to settle.
    versions = {number: replace(version, changed_ns=0) for number, version in upload.versions.items()}
    return replace(upload, versions=versions)
