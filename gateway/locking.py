"""One writer at a time, whichever process it is in."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from adapters.errors import ServingError
from gateway.errors import Conflict

PATIENCE_S: Final = 5.0
_AGAIN_S: Final = 0.01


@contextmanager
def locked(file: Path, patience_s: float = PATIENCE_S, refused: ServingError | None = None) -> Iterator[None]:
    """The time in which nobody else has this lock. Blocking; raises OSError.

    When it does not get it, it raises `refused`, else Conflict. The kernel lets go of it when its holder dies.
    """
    until_s = time.monotonic() + patience_s
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= until_s:
                    raise refused or Conflict(
                        f"{file} has been locked by another process for {patience_s:g} s: it writes there; "
                        "try again when it has ended"
                    ) from None
            time.sleep(_AGAIN_S)
        yield
    finally:
        os.close(descriptor)
