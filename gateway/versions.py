"""What to do next for every deployment: pure decisions over what is wanted and what is."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import TypeAlias

from adapters.base import plain_backend
from gateway.config import ModelConfig
from gateway.types import Deployment, State

Fingerprint: TypeAlias = Hashable


def kept_versions(policy: str | tuple[int, ...], present: Iterable[int]) -> set[int]:
    """The versions that a policy keeps of those present: "all", "latest:N", or a list of numbers."""
    numbers = sorted(present)
    if isinstance(policy, tuple):
        return set(numbers) & set(policy)
    if policy == "all":
        return set(numbers)
    return set(numbers[-int(policy.removeprefix("latest:")) :])


def backend_order(config: ModelConfig, backends: tuple[str, ...]) -> tuple[str, ...]:
    """The backends that a model may use, the preferred first."""
    return config.backends if config.backends is not None else backends


def used_backends(order: tuple[str, ...], present: Iterable[str]) -> list[str]:
    """Which of the backends present are loaded: those named, in their order, then variants of those named."""
    there = sorted(present)
    named = [each for each in order if each in there]
    return named + [each for each in there if each not in order and plain_backend(each) in order]


class Settling:
    """The rule that a version is complete once its files have been left alone for a while.

    By the files' own times where these can be believed, so that a folder that was finished elsewhere and renamed into
    place is served at once; else by watching, since a file server's clock may run ahead of ours.
    """

    def __init__(self, settle_s: float) -> None:
        self._settle_s = settle_s
        self._seen: dict[Hashable, tuple[int, float]] = {}

    def complete(self, key: Hashable, changed_ns: int, wall_s: float, monotonic_s: float) -> bool:
        """Whether the version `key`, last changed at `changed_ns`, may be loaded now."""
        changed, since = self._seen.get(key, (None, monotonic_s))
        if changed != changed_ns:
            since = monotonic_s
            self._seen[key] = (changed_ns, since)
        return wall_s - changed_ns / 1e9 >= self._settle_s or monotonic_s - since >= self._settle_s

    def forget_all_but(self, keys: Iterable[Hashable]) -> None:
        """Drop what is remembered of versions that are gone."""
        present = set(keys)
        self._seen = {key: seen for key, seen in self._seen.items() if key in present}


class Wish(Enum):
    """What the repository asks for a deployment."""

    SERVE = auto()
    WAIT = auto()
    """Its files are still being written."""
    SPARE = auto()
    """Its files are there, but the version policy leaves it out: it goes once others can answer."""
    STAY = auto()
    """It is to go with the next word about its model: what serves goes on until then, and nothing is loaded."""
    WITHDRAWN = auto()
    """Somebody asked for its unload: it goes at once, and comes back when asked for."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A deployment as the repository has it.

    `fingerprint` differs whenever loading it again would matter; `by_label` is where the version policy leaves it out
    and only a label keeps it: it stands in for no other.
    """

    wish: Wish
    fingerprint: Fingerprint
    by_label: bool = False

    @property
    def by_policy(self) -> bool:
        """Whether the version policy keeps it."""
        return self.wish in (Wish.SERVE, Wish.WAIT) and not self.by_label


@dataclass(frozen=True, slots=True)
class Actual:
    """A deployment as the control plane has it.

    `tried` is the fingerprint of the last load that was begun; `retry_at_s` (monotonic) is set where that load is to
    be tried again; `busy` while something is being done to it.
    """

    state: State
    tried: Fingerprint
    retry_at_s: float | None = None
    busy: bool = False


class Act(Enum):
    """What to do to a deployment."""

    LOAD = auto()
    UNLOAD = auto()


def next_steps(
    wanted: Mapping[Deployment, Wanted], actual: Mapping[Deployment, Actual], now_s: float
) -> dict[Deployment, Act]:
    """What to begin now. Calling it again before anything changed gives the same answer."""
    steps: dict[Deployment, Act] = {}
    for deployment, want in wanted.items():
        if want.wish is Wish.SERVE and _must_load(actual.get(deployment), want, now_s):
            steps[deployment] = Act.LOAD
    for deployment, have in actual.items():
        if have.busy or have.state is State.UNLOADED:
            continue
        wish = wanted[deployment].wish if deployment in wanted else Wish.WITHDRAWN
        if wish is Wish.WITHDRAWN or (wish is Wish.SPARE and _replaced(deployment, wanted, actual)):
            steps[deployment] = Act.UNLOAD
    return steps


def _must_load(have: Actual | None, want: Wanted, now_s: float) -> bool:
    if have is None or have.state is State.UNLOADED:
        return True
    if have.busy:
        return False
    if have.tried != want.fingerprint:
        return True
    return have.retry_at_s is not None and now_s >= have.retry_at_s


def _replaced(spare: Deployment, wanted: Mapping[Deployment, Wanted], actual: Mapping[Deployment, Actual]) -> bool:
    """Whether what the policy keeps can answer in its place (on its backend, if any): one ready, none on its way."""
    if actual[spare].state is not State.READY:
        return True
    kept = [each for each, want in wanted.items() if each.model == spare.model and want.by_policy]
    kept = [each for each in kept if each.backend == spare.backend] or kept
    states = [actual[each].state if each in actual else State.FOUND for each in kept]
    return State.READY in states and State.FOUND not in states and State.LOADING not in states


class Restarts:
    """When a deployment that died is started again: at once, then later and later, then not at all."""

    MAX_DEATHS = 5
    WINDOW_S = 600.0
    FIRST_DELAY_S = 0.5
    MAX_DELAY_S = 30.0

    def __init__(self) -> None:
        self._deaths: list[float] = []

    def died(self, now_s: float) -> float | None:
        """Record a death; gives the delay in seconds before the next start, None for quarantine."""
        self._deaths = [each for each in self._deaths if now_s - each < self.WINDOW_S] + [now_s]
        count = len(self._deaths)
        return None if count >= self.MAX_DEATHS else self.delay_s(count)

    @classmethod
    def delay_s(cls, attempts: int) -> float:
        """Seconds to wait after so many failures in a row."""
        doublings = min(attempts - 2, 16)  # enough to be over any maximum, and never over what a float holds
        return 0.0 if attempts <= 1 else min(cls.FIRST_DELAY_S * 2.0**doublings, cls.MAX_DELAY_S)
