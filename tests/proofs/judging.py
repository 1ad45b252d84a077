"""What may be answered to a request, given what it provoked and what was done to the gateway meanwhile."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from tests.proofs.asking import Ask, Trouble

_TOLD = 20
_MODEL_FAILED = "the model failed"
_DIED = "died"


class Outcome(StrEnum):
    """What became of a request, where it is as it should be."""

    RIGHT = "its own answer"
    BAD_ROW = "failed for its bad row"
    LATE = "was late for its own short timeout"
    BUSY = "was refused by the limit"
    MALFORMED = "was refused as malformed"
    KILLED = "was on a worker that was killed"
    RESTARTING = "came while a killed worker restarted"
    LEFT = "was left by its caller"


@dataclass(slots=True)
class Kill:
    """A worker that was killed, and when its successor was seen ready."""

    model: str
    at_s: float
    restored_s: float = float("inf")


@dataclass
class Judge:
    """Counts outcomes, and tells of everything that nothing provoked."""

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    ways: Counter[str] = field(default_factory=Counter)
    violations: Counter[str] = field(default_factory=Counter)
    told: list[str] = field(default_factory=list)
    kills: list[Kill] = field(default_factory=list)

    @property
    def judged(self) -> int:
        """How many requests have ended."""
        return self.outcomes.total() + self.violations.total()

    def judge(self, ask: Ask, status: int, text: str, wrong: str, now_s: float) -> None:
        """Count an answer; `wrong` is what is wrong with the content of a 200."""
        self.ways[ask.way] += 1
        outcome = self._outcome(ask, status, text, wrong, now_s)
        if outcome is None:
            kind = "wrong answer" if status == 200 else f"status {status} that nothing provoked"
            self.violate(kind, ask, wrong or text)
        else:
            self.outcomes[outcome] += 1

    def left(self, ask: Ask) -> None:
        """Count one whose caller has closed the connection."""
        self.ways[ask.way] += 1
        self.outcomes[Outcome.LEFT] += 1

    def violate(self, kind: str, ask: Ask, said: str) -> None:
        """Count what must not be."""
        self.violations[kind] += 1
        if len(self.told) < _TOLD:
            what = f"{ask.model.name} {ask.number} ({ask.way}, {ask.trouble}, {len(ask.inputs)} rows)"
            self.told.append(f"{kind}: {what}: {said[:500]}")

    def _outcome(self, ask: Ask, status: int, text: str, wrong: str, now_s: float) -> Outcome | None:
        trouble = ask.trouble
        if status == 200:
            fails = trouble in (Trouble.BAD_ROW, Trouble.MALFORMED)
            return None if wrong or fails else Outcome.RIGHT
        if status == 500 and trouble is Trouble.BAD_ROW and text.startswith(_MODEL_FAILED):
            return Outcome.BAD_ROW
        if trouble is Trouble.MALFORMED and status == ask.refusal:
            return Outcome.MALFORMED
        if status == 504 and trouble is Trouble.IMPATIENT:
            return Outcome.LATE
        if status == 429 and (trouble is Trouble.IMPATIENT or "limits" in ask.model.settings):
            return Outcome.BUSY
        if status in (502, 503):
            return self._excuse(ask, status, text, now_s)
        return None

    def _excuse(self, ask: Ask, status: int, text: str, now_s: float) -> Outcome | None:
        for kill in reversed(self.kills):
            if kill.model == ask.model.name and kill.at_s <= now_s and ask.sent_s <= kill.restored_s:
                return Outcome.KILLED if status == 502 and _DIED in text else Outcome.RESTARTING
        return None
