"""What can go wrong on a device, by what it means to the app."""

from __future__ import annotations

import errno

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class EdgeError(Exception):
    """The device cannot do what was asked for; a model that works stays in use."""


class Offline(EdgeError):
    """The server cannot be reached, is too slow, or does not answer as agreed: later, perhaps."""


class Refused(EdgeError):
    """What the server offers is not signed, not fresh, not what was signed, or not safe to open."""


class Unfit(EdgeError):
    """The model does not run here, or not as its golden data say."""


class NoSpace(EdgeError):
    """There is not room enough on the disk."""


class NotInstalled(EdgeError):
    """There is no model in the folder, or none to go back to."""


class Busy(EdgeError):
    """Another process is changing the folder."""


def is_full(error: BaseException | None) -> bool:
    """Whether an exception, or what it came from, says that a disk, a quota or a file-size limit is full."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _FULL:
            return True
        error = error.__cause__ or error.__context__
    return False
