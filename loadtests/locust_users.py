"""Locust users whose requests a generator sends: they are counted, and it is given so much to do."""

from __future__ import annotations

import logging
import time
from typing import Any, ClassVar, Final

import gevent
import msgspec
from locust import User, constant
from locust.env import Environment
from locust.event import EventHook
from locust.runners import WorkerRunner

from loadtests.engine.plan import Plan
from loadtests.generator import Generator, GeneratorFailed
from loadtests.locust_statistics import Statistics

_log = logging.getLogger(__name__)
_NEVER_S: Final = 1e9
_MANY: Final = 1 << 16
_PATIENCE_S: Final = 60.0


def slices_of(environment: Environment) -> EventHook:
    """`environment.events.slice`, which is fired with `slice=…` for every slice; made where it is not there yet."""
    events: Any = environment.events
    if not hasattr(events, "slice"):
        events.slice = EventHook()  # type: ignore[no-untyped-call]  # Locust has no types here
    hook: EventHook = events.slice
    return hook


def user_class(plan: Plan, name: str, level_per_user: float = 1.0) -> type[User]:
    """A class of users that share one generator in each Locust process: N of them are the level N × `level_per_user`.

    Where arrivals are closed that is so many connections, whatever `plan.connections` says; else so many requests a
    second, by as many connections as that says. What the generator tells goes into Locust's statistics under `name`,
    and to `slices_of(environment)`. A generator that fails is an error of the run: logged, counted, and Locust's exit
    status is 1.
    """
    identifier = "".join(each if each.isalnum() else "_" for each in name.title()) or "Load"
    members = {"prepared": (plan, name, level_per_user), "abstract": False}
    return type(identifier, (EngineUser,), members)


class Unable(Exception):
    """The load cannot begin; the text says why, and what to do."""


def _idle(user: User) -> None:
    """The task of every user: its generator works."""


class EngineUser(User):
    """One unit of load; it does nothing itself. Subclasses say what their generator is to do."""

    abstract = True
    wait_time = constant(_NEVER_S)
    prepared: ClassVar[tuple[Plan, str, float]]
    crew: ClassVar[Crew | None] = None
    tasks = [_idle]  # noqa: RUF012  # as Locust has it

    @classmethod
    def prepare(cls, environment: Environment) -> tuple[Plan, str, float]:
        """The plan, its name among the statistics, and each user's level, at the beginning of a run; raises Unable."""
        return cls.prepared

    def on_start(self) -> None:
        """Called by Locust."""
        kind = type(self)
        if kind.crew is None or kind.crew.ended:
            kind.crew = Crew(self.environment, kind)
        self._crew = kind.crew
        self._crew.join()

    def on_stop(self) -> None:
        """Called by Locust."""
        if hasattr(self, "_crew"):
            self._crew.leave()


class Crew:
    """All users of a class in this process, and the generator that works for them."""

    def __init__(self, environment: Environment, kind: type[EngineUser]) -> None:
        self._environment = environment
        self._kind = kind
        self._count = 0
        self._level_per_user = 0.0
        self._generator: Generator | None = None
        self._broken = False
        self.ended = False
        """Whether it takes no more users."""
        self._working = gevent.spawn(self._work)
        events: Any = environment.events
        events.test_stopping.add_listener(self._end)
        events.test_stop.add_listener(self._finish)

    def join(self) -> None:
        """One user more."""
        self._count += 1
        self._tell()

    def leave(self) -> None:
        """One user less."""
        self._count -= 1
        self._tell()

    def _tell(self) -> None:
        if self._generator is not None and not self.ended:
            try:
                self._generator.level(self._count * self._level_per_user)
            except (GeneratorFailed, ValueError) as error:
                self._failed(str(error))

    def _work(self) -> None:
        try:
            plan, name, self._level_per_user = self._kind.prepare(self._environment)
            statistics = Statistics(self._environment.stats, "gRPC" if plan.target.protocol == "grpc" else "POST", name)
            hook: Any = slices_of(self._environment)
            with Generator(self._own(plan)) as self._generator:
                self._tell()
                if self.ended:
                    self._generator.end()
                for told in self._generator.slices():
                    statistics.add(told, time.time())
                    hook.fire(slice=told)
        except (GeneratorFailed, Unable, OSError, ValueError) as error:
            self._failed(str(error))
        except Exception as error:  # noqa: BLE001  # or a run would do nothing, without a word
            _log.exception("the load cannot go on")
            self._failed(f"{type(error).__name__}: {error}")

    def _own(self, plan: Plan) -> Plan:
        """The plan for this process: no two workers send at the same moments."""
        index = max(0, getattr(self._environment.runner, "worker_index", 0))
        connections = _MANY if plan.arrival == "closed" else plan.connections
        return msgspec.structs.replace(plan, seed=plan.seed + index, connections=connections)

    def _failed(self, reason: str) -> None:
        if self._broken:
            return
        self._broken = self.ended = True
        _log.error("the load cannot go on: %s", reason)
        self._environment.stats.log_error("", self._kind.__name__, reason)
        self._environment.process_exit_code = 1
        gevent.spawn(self._stop)

    def _stop(self) -> None:
        runner, options = self._environment.runner, self._environment.parsed_options
        if runner is None:
            return
        if isinstance(runner, WorkerRunner) or (options is not None and options.headless):
            runner.quit()
        else:
            runner.stop()

    def _end(self, **_: object) -> None:
        """The run stops: nothing more is sent, before the level sinks with the users that go."""
        if not self.ended:
            self.ended = True
            try:
                if self._generator is not None:
                    self._generator.end()
            except GeneratorFailed as error:
                self._failed(str(error))

    def _finish(self, **_: object) -> None:
        """The run has stopped: what was under way has its end before Locust sums up."""
        self._end()
        self._working.join(_PATIENCE_S)
        self._working.kill()
        events: Any = self._environment.events
        events.test_stopping.remove_listener(self._end)
        events.test_stop.remove_listener(self._finish)
