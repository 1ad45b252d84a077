"""The four roles of the repository (TUF): where their keys are, how many sign, and how long that holds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from tuf.api.metadata import Metadata, Role, Root

from adapters.errors import InvalidInput

RoleName = Literal["root", "targets", "snapshot", "timestamp"]
Kind = Literal["offline", "online"]

ROLES: Final[tuple[RoleName, ...]] = ("root", "targets", "snapshot", "timestamp")
_EXPIRES: Final = "x-torii-expires-s"
"""In root, with each role: how long its signatures are to hold. Signed, like all of root."""

_SHORTEST: Final = timedelta(minutes=10)
_LONGEST: Final = timedelta(days=3650)
_MOST_KEYS: Final = 16


@dataclass(frozen=True, slots=True)
class Terms:
    """How many keys a role has, how many of them must sign, and how long their signatures hold."""

    expires: timedelta
    threshold: int = 1
    keys: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.threshold <= self.keys <= _MOST_KEYS:
            raise InvalidInput(
                f"threshold {self.threshold} of {self.keys} keys: expected at least 1, at most as many as there are "
                f"keys, and {_MOST_KEYS} keys at most"
            )
        if not _SHORTEST <= self.expires <= _LONGEST:
            raise InvalidInput(f"expiry of {self.expires}: expected from {_SHORTEST} to {_LONGEST.days} days")


DEFAULTS: Final[dict[RoleName, Terms]] = {
    "root": Terms(timedelta(days=365)),
    "targets": Terms(timedelta(days=90)),
    "snapshot": Terms(timedelta(days=7)),
    "timestamp": Terms(timedelta(days=1)),
}


def kind_of(role: RoleName) -> Kind:
    """Where a role's keys belong: online ones sign by themselves, and never a target."""
    return "offline" if role in {"root", "targets"} else "online"


def role_name(text: str) -> RoleName:
    """A role by its name; raises InvalidInput."""
    for each in ROLES:
        if each == text:
            return each
    raise InvalidInput(f"role {text!r:.40}: expected one of {', '.join(ROLES)}")


def tuf_role(keyids: list[str], threshold: int, expires: timedelta) -> Role:
    """A role as root has it."""
    return Role(keyids, threshold, {_EXPIRES: int(expires.total_seconds())})


def lifetime(root: Root, role: RoleName) -> timedelta:
    """How long a role's signatures are to hold, as root says."""
    seconds = root.roles[role].unrecognized_fields.get(_EXPIRES)
    return timedelta(seconds=seconds) if isinstance(seconds, int) else DEFAULTS[role].expires


def half_over(metadata: Metadata[Any], root: Root, role: RoleName, now: datetime) -> bool:
    """Whether it is time to sign a role's metadata again."""
    expires: datetime = metadata.signed.expires
    return expires - now < lifetime(root, role) / 2
