"""What devices reported: counted at once for whoever decides, and handed on to the store in the background."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from itertools import islice
from typing import Final, NamedTuple

from adapters.histograms import step_of
from gateway.edge.channel_file import ChannelFile, Evidence
from gateway.edge.server.reports import Report, passed
from gateway.experiments.deliveries import Claim, Counted, Deliveries, Subject

JUDGED: Final = "judged"
"""The kind under which a device counts once that said whether a version works."""

FAULTED: Final = "faulted"
"""And under which it counts once where it said that it does not."""

_VERDICTS: Final = ("self_check", "failed")
_MOST_WAITING: Final = 200_000
_MOST_KNOWN: Final = 400_000


class Note(NamedTuple):
    """One more of a count, by a device and of a bundle; `steps` are latencies, by the histogram's steps."""

    device: str
    target: str
    counted: Counted
    steps: tuple[int, ...] = ()

    @property
    def place(self) -> int:
        """A hash of what may count once; it means nothing to another process."""
        return hash((self.device, self.target, self.counted.kind, self.counted.subject))

    def claim(self, secret: bytes) -> Claim:
        """As the store has it: instead of the device a hash that tells nothing without the secret."""
        hashed = blake2b(digest_size=16, key=secret)
        for part in (self.device, self.target, self.counted.kind, repr(self.counted.subject)):
            text = part.encode("utf-8", "surrogatepass")
            hashed.update(len(text).to_bytes(4) + text)
        return Claim(hashed.digest(), self.counted, self.steps)


class Detail(NamedTuple):
    """What a device said of a failure."""

    model: str
    version: int
    detail: str


class Tally:
    """`dropped` are reports that came while as many waited for the store as may."""

    def __init__(self, most_waiting: int = _MOST_WAITING) -> None:
        self.stored = Deliveries()
        self.details: deque[Detail] = deque(maxlen=20)
        self.taken = 0
        self.dropped = 0
        self._most_waiting = most_waiting
        self._waiting: deque[Note] = deque()
        self._counts: Counter[Counted] = Counter()
        self._known: dict[int, None] = {}

    @property
    def waiting(self) -> int:
        """How many notes the store has not taken yet."""
        return len(self._waiting)

    @property
    def full(self) -> bool:
        """Whether nothing more is taken until the store has taken something."""
        return len(self._waiting) >= self._most_waiting

    def take(self, report: Report, subject: Subject) -> bool:
        """Count a report; False: the device has reported the same before. Not to be called when `full`."""
        notes = _notes(report, subject)
        if notes[0].place in self._known:
            return False
        for each in notes:
            if each.place not in self._known:
                self._know(each.place)
                self._waiting.append(each)
                self._counts[each.counted] += 1
        self.taken += 1
        if report.detail and not passed(report):
            self.details.append(Detail(report.model, report.version, report.detail))
        return True

    def first(self, most: int) -> list[Note]:
        """Those that have waited longest."""
        return list(islice(self._waiting, most))

    def saved(self, notes: Sequence[Note], stored: Deliveries) -> None:
        """Have the store's counts stand for these notes, which were the first that waited."""
        for each in notes:
            self._waiting.popleft()
            self._counts[each.counted] -= 1
            if not self._counts[each.counted]:
                del self._counts[each.counted]
        self.stored = stored

    def counts(self) -> Mapping[Counted, int]:
        """All that is known: what was stored, and what waits."""
        return Counter(self.stored.counts) + self._counts

    def evidence(self, subject: Subject) -> Evidence:
        """What devices said of a version in a rollout."""
        judged, faulted = Counted(subject, JUDGED, True), Counted(subject, FAULTED, False)
        return Evidence(reports=self._count(judged), failed=min(self._count(faulted), self._count(judged)))

    def _count(self, counted: Counted) -> int:
        return self.stored.counts.get(counted, 0) + self._counts.get(counted, 0)

    def _know(self, place: int) -> None:
        if len(self._known) >= _MOST_KNOWN:
            del self._known[next(iter(self._known))]
        self._known[place] = None


def subject_of(report: Report, file: ChannelFile | None, channel: str) -> Subject:
    """What a report belongs to: the rollout of its version in a channel, if there is or was one."""
    there = file.channels.get(channel) if file else None
    rollout = there.rollout if there else None
    of_rollout = rollout is not None and rollout.version == report.version
    return Subject(
        report.model, channel, report.version, rollout.started.timestamp() if rollout and of_rollout else 0.0
    )


def channel_of(report: Report, file: ChannelFile | None) -> str:
    """The channel that a report speaks of where it does not say: one that rolls its version out, or that has it."""
    channels = file.channels if file else {}
    rolling = [name for name, each in channels.items() if each.rollout and each.rollout.version == report.version]
    having = [name for name, each in channels.items() if report.version in each.versions()]
    found = rolling or having or ["stable"]
    return "stable" if "stable" in found else sorted(found)[0]


def _notes(report: Report, subject: Subject) -> list[Note]:
    """The report itself; and its device, where it says whether the version works."""
    good = passed(report)
    steps = tuple(step_of(round(each * 1000)) for each in report.latency_ms)
    counted = [(Counted(subject, report.kind, good), steps)]
    if report.kind in _VERDICTS:
        counted.append((Counted(subject, JUDGED, True), ()))
        if not good:
            counted.append((Counted(subject, FAULTED, False), ()))
    return [Note(report.id, report.target, *each) for each in counted]
