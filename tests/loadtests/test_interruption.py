from __future__ import annotations

import signal

import gevent
import greenlet
import pytest

from loadtests.interruption import Interruption


@pytest.fixture
def interruption() -> Interruption:
    """One that takes this greenlet for the main one, and leaves the process's signals alone."""
    made = Interruption()
    made.main = greenlet.getcurrent()
    return made


def ask(interruption: Interruption) -> None:
    interruption.hear(signal.SIGTERM, None)


def test_the_main_greenlet_is_told_at_once(interruption: Interruption) -> None:
    with pytest.raises(KeyboardInterrupt):
        ask(interruption)


def test_the_main_greenlet_is_told_where_another_one_hears_it(interruption: Interruption) -> None:
    other = gevent.spawn(ask, interruption)
    with pytest.raises(KeyboardInterrupt):
        gevent.sleep(60)
    other.join()
    assert other.successful()


def test_a_second_one_is_not_heard(interruption: Interruption) -> None:
    with pytest.raises(KeyboardInterrupt):
        ask(interruption)
    ask(interruption)


def test_what_is_held_is_not_broken_off_and_the_next_wait_is(interruption: Interruption) -> None:
    with interruption.held():
        ask(interruption)
        gevent.sleep(0)
    with pytest.raises(KeyboardInterrupt):
        gevent.sleep(60)


def test_nothing_is_told_any_more_once_all_is_done(interruption: Interruption) -> None:
    with interruption.held():
        ask(interruption)
    interruption.ignore()
    gevent.sleep(0)
    ask(interruption)


def test_what_may_be_broken_off_is_told_within_what_is_held(interruption: Interruption) -> None:
    with interruption.held():
        ask(interruption)
        with pytest.raises(KeyboardInterrupt), interruption.heard():
            pytest.fail("it had been asked before this began")


def test_what_is_heard_where_it_may_be_broken_off_is_told_there(interruption: Interruption) -> None:
    with interruption.held():
        gevent.spawn(ask, interruption)
        with pytest.raises(KeyboardInterrupt), interruption.heard():
            gevent.sleep(60)
        gevent.sleep(0)
