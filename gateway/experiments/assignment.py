"""Which variant a request gets: by a hash of experiment and unit, the same wherever and whenever it is asked."""

from __future__ import annotations

import random
import struct
from bisect import bisect_right
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final

import msgspec

from adapters.errors import InvalidInput
from adapters.tensors import Tensors
from gateway.errors import NotAllowed, RequestTooLarge, Unsupported
from gateway.experiments.definition import REQUEST_HEADER, VARIANT_HEADER
from gateway.experiments.recording import ArmNotes, Notes
from gateway.experiments.tokens import make_token
from gateway.types import BY_CHANCE, SLOTS, Caller, ShadowRule

_NUMBERS: Final = struct.Struct(">QQ")
"""A unit's hash: the first number is its place among the slots, the second, less a bit, what it is counted by."""

_KNOWN: Final = 1 << 15
_KNOWN_BYTES: Final = 64
_CALLERS_OWN: Final = (InvalidInput, NotAllowed, RequestTooLarge, Unsupported)
"""Mistakes that say nothing of a variant."""


class Unit(msgspec.Struct, frozen=True, gc=False):
    """Where a unit's hash puts it: a slot (0..SLOTS-1), and another hash (63 bits), which does not depend on it."""

    slot: int
    number: int


def hash_unit(salt: str, unit: bytes) -> Unit:
    """The hash of a unit in an experiment, by BLAKE2b, keyed by the salt: it tells nothing of another experiment's."""
    key = blake2b(salt.encode(), digest_size=32).digest()
    first, second = _NUMBERS.unpack(blake2b(unit, digest_size=_NUMBERS.size, key=key).digest())
    return Unit(first * SLOTS >> 64, second >> 1)


_REQUEST: Final = REQUEST_HEADER.encode()


class Assignment(msgspec.Struct, gc=False):
    """A request's variant, to be told how it went; `counts` is whether it is evidence."""

    notes: Notes
    arm: ArmNotes
    number: int
    counts: bool = True
    token: str = ""

    @property
    def shadow(self) -> ShadowRule | None:
        """To whom the request is to be copied."""
        return self.notes.split.shadow

    def answered(self, took_ns: int, outputs: Tensors | None) -> None:
        """The request was answered."""
        if self.counts:
            self.arm.answered(self.number, took_ns, outputs)

    def failed(self, error: BaseException) -> None:
        """The request was not answered; one that was cancelled, or was wrong by itself, does not count."""
        if self.counts and isinstance(error, Exception) and not isinstance(error, _CALLERS_OWN):
            self.arm.failed(self.number)

    def headers(self) -> tuple[tuple[str, str], ...]:
        """See Assigned."""
        token = self._made_token()
        return (*self.arm.headers, (REQUEST_HEADER, token)) if token else self.arm.headers

    def lines(self) -> bytes:
        """See Assigned."""
        token = self._made_token()
        return b"%b%b: %b\r\n" % (self.arm.lines, _REQUEST, token.encode()) if token else self.arm.lines

    def parameters(self) -> Mapping[str, str]:
        """The same as V2's answers have it in their parameters: experiment, variant, request_id."""
        token = self._made_token()
        return {**self.arm.parameters, "request_id": token} if token else self.arm.parameters

    def _made_token(self) -> str:
        """The request's id, the same whenever it is asked; empty where no outcomes are awaited."""
        split = self.notes.split
        if not self.token and self.counts and split.token_key:
            made = make_token(split.token_key, self.notes.run_hash, self.arm.index, split.epoch, self.number)
            self.token = made.decode()
        return self.token


class Assigner:
    """Gives a model's requests to the arms of one split."""

    def __init__(self, notes: Notes) -> None:
        split = notes.split
        self._notes = notes
        self.targets = tuple(each.target for each in split.arms)
        self._split = split
        self._hash = blake2b(digest_size=_NUMBERS.size, key=blake2b(split.salt.encode(), digest_size=32).digest())
        self._ends = [end for end, _ in split.slots]
        self._arms = [notes.arms[index] for _, index in split.slots]
        self._named = {each.arm.name.encode(): each for each in notes.arms}
        self._testers = {unit.encode(): notes.arms[index] for unit, index in split.testers.items()}
        self._known: dict[bytes, tuple[ArmNotes, int]] = {}
        self._overrides = split.overrides
        self._first = split.units[0][1] if split.units and split.units[0][0] == "header" else ""
        self.wants = bool(split.headers or split.parameters)

    def belongs_to(self, notes: Notes) -> bool:
        """Whether these notes, of their latest split, are what this one assigns by."""
        return self._notes is notes and self._split == notes.split

    def takes(self, caller: Caller | None, parameters: Mapping[str, Any]) -> bool:
        """Whether a request takes part; every one does where nothing is wanted (`wants`)."""
        for name, value in self._split.headers.items():
            if caller is None or caller.header(name) != value.encode():
                return False
        return all(
            name in parameters and type(parameters[name]) is type(value) and parameters[name] == value
            for name, value in self._split.parameters.items()
        )

    def assign(self, caller: Caller | None, parameters: Mapping[str, Any]) -> Assignment:
        """The request's variant; raises InvalidInput where it chooses one that there is not."""
        if self._overrides and caller is not None and (chosen := caller.header(VARIANT_HEADER)) is not None:
            if chosen not in self._named:
                there = ", ".join(each.arm.name for each in self._notes.arms)
                raise InvalidInput(
                    f"{VARIANT_HEADER}: expected one of {there}, got {chosen.decode(errors='replace')!r:.80}"
                )
            return Assignment(self._notes, self._named[chosen], 0, False)
        unit = caller.header(self._first) if self._first and caller is not None else None
        if not unit:
            unit = self._unit(caller, parameters)
        if unit is None:
            by_chance = random.getrandbits(63) | BY_CHANCE
            arm = self._arms[bisect_right(self._ends, int(random.random() * SLOTS))]  # noqa: S311  # a share, no secret
            arm.assigned(by_chance)
            return Assignment(self._notes, arm, by_chance)
        if self._testers and unit in self._testers:
            return Assignment(self._notes, self._testers[unit], 0, False)
        arm, number = self._known.get(unit) or self._place(unit)
        arm.assigned(number)
        return Assignment(self._notes, arm, number)

    def _place(self, unit: bytes) -> tuple[ArmNotes, int]:
        hashing = self._hash.copy()
        hashing.update(unit)
        first, second = _NUMBERS.unpack(hashing.digest())
        found = self._arms[bisect_right(self._ends, first * SLOTS >> 64)], second >> 1
        if len(unit) <= _KNOWN_BYTES:
            if len(self._known) >= _KNOWN:
                self._known.clear()
            self._known[unit] = found
        return found

    def _unit(self, caller: Caller | None, parameters: Mapping[str, Any]) -> bytes | None:
        found: bytes | None
        for source, name in self._split.units:
            if source == "parameter":
                found = _written(parameters[name]) if name in parameters else b""
            elif caller is None:
                continue
            else:
                found = caller.header(name) if source == "header" else _cookie(caller.header("cookie"), name)
            if found:
                return found
        return None


def _written(value: object) -> bytes:
    """A parameter as a header would hold it; empty where it is neither a text, a number, true nor false."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if isinstance(value, bool):
        return b"true" if value else b"false"
    return str(value).encode() if isinstance(value, int | float) else b""


def _cookie(header: bytes | None, name: str) -> bytes | None:
    """A cookie's value in a Cookie header (RFC 6265, section 4.2.1)."""
    wanted = name.encode()
    for pair in (header or b"").split(b";"):
        key, equals, value = pair.strip().partition(b"=")
        if equals and key == wanted:
            return value.strip(b'"')
    return None
