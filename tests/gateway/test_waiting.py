"""Who waits, compared with a sorted list: the most pressing first, equals in order of arrival."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.waiting import WaitingLine

PRIORITIES = st.integers(1, 9)


class SameAsASortedList(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.line: WaitingLine[int] = WaitingLine()
        self.all: list[tuple[int, int]] = []  # priority, number
        self.next = 0

    @rule(priority=PRIORITIES)
    def join(self, priority: int) -> None:
        self.line.join(self.next, priority)
        self.all.append((priority, self.next))
        self.next += 1

    @precondition(lambda self: self.all)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        priority, number = data.draw(st.sampled_from(self.all))
        self.line.leave(number, priority)
        self.line.leave(number, priority)  # twice is no error
        self.all.remove((priority, number))

    @rule()
    def call(self) -> None:
        first = min(self.all, default=None)
        assert self.line.call() == (first[1] if first else None)
        if first:
            self.all.remove(first)

    @rule(priority=PRIORITIES)
    def displace(self, priority: int) -> None:
        less = [each for each in self.all if each[0] > priority]
        assert self.line.presses_less(priority) == bool(less)
        assert self.line.displace(priority) == (max(less)[1] if less else None)
        if less:
            self.all.remove(max(less))

    @rule(priority=PRIORITIES)
    def ahead(self, priority: int) -> None:
        assert self.line.ahead(priority) == sum(each <= priority for each, _ in self.all)

    @invariant()
    def counts(self) -> None:
        assert self.line.count == len(self.all)


TestSameAsASortedList = SameAsASortedList.TestCase


def test_priorities_beyond_the_scale_count_as_its_ends() -> None:
    line: WaitingLine[str] = WaitingLine()
    for who, priority in (("least", 99), ("lowest", 9), ("most", -3), ("highest", 1)):
        line.join(who, priority)
    assert [line.call() for _ in range(5)] == ["most", "highest", "least", "lowest", None]
