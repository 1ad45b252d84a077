"""One stretch of load: a Locust environment for as long as it takes, and what was seen of it as a Run.

To import this is to import Locust, which patches the standard library for gevent.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import gevent
import msgspec
from locust import LoadTestShape
from locust.env import Environment

from loadtests.engine import plan as wire
from loadtests.gateways import Gateway
from loadtests.generator import GeneratorFailed
from loadtests.hardware import Watch
from loadtests.interruption import INTERRUPTION
from loadtests.locust_users import slices_of, user_class
from loadtests.results.schema import Distribution, Run, Slice
from loadtests.run.marks import CUT_SHORT, marks
from loadtests.run.measuring import CutShort, Incident, Shape, Tell, silent

_LOOK_S: Final = 0.05
_LATE_S: Final = 60.0
"""A generator that has told nothing of the stretch's end so long after it is not going to."""

_MOST_USERS: Final = 50
"""Of an open loop whose level changes: so fine are its steps."""


class _Schedule(LoadTestShape):
    """A schedule of levels, as Locust asks for one: users, once a second."""

    def __init__(self, shape: Shape, per_user: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._shape = shape
        self._per_user = per_user

    def tick(self) -> tuple[int, float] | None:
        """Called by Locust."""
        level = self._shape(self.get_run_time())  # type: ignore[no-untyped-call]
        if level is None:
            return None
        users = round(level / self._per_user)
        return users, max(1.0, float(users))


def stretch(  # noqa: PLR0913  # what a stretch is
    plan: wire.Plan,
    level: float,
    seconds: float,
    *,
    warm_up_s: float = 0.0,
    phase: str = "measure",
    round: int = 1,  # noqa: A002  # as the schema says
    gateway: Gateway,
    tell: Tell = silent,
    shape: Shape | None = None,
    incidents: Sequence[Incident] = (),
) -> Run:
    """Put load on a gateway for `warm_up_s` and then `seconds`.

    Args:
        plan: What is sent; where arrivals are open, its connections bound what is under way.
        level: Connections (closed), or requests/s (open). With a shape: the highest level that it comes to.
        seconds: How long, without the warm-up. A shape may end earlier.
        warm_up_s: Comes first, and counts nowhere.
        phase: As results have it.
        round: As results have it, from 1.
        gateway: What is measured: its processes are not the machine's noise.
        tell: Called with each slice.
        shape: Where the level changes with time.
        incidents: What is done to the gateway meanwhile; seconds since the stretch began.

    Raises:
        CutShort: Ctrl-C; it has what was measured so far.
        GeneratorFailed: the generator ended by itself.
    """
    heard = _Heard(tell)
    watch, began = Watch(gateway.pids()), datetime.now(UTC)
    environment, per_user = _environment(plan, level, shape, heard)
    with INTERRUPTION.held():  # but for the load itself: what was measured is not lost
        cut = _loaded(environment, level, per_user, warm_up_s + seconds, heard, incidents)
        noise = watch.read()
        slices = tuple(map(_kept, heard.slices))
        run = Run(
            began=began.isoformat(timespec="milliseconds"),
            phase=phase,
            round=round,
            arrival=plan.arrival,
            connections=plan.connections,
            warm_up_s=warm_up_s,
            slices=slices,
            noise=noise,
            events=tuple(heard.events),
        )
        ended_s = slices[-1].end_s if slices else 0.0
        cuts = (_cut(ended_s, warm_up_s + seconds),) if cut else ()
        run = msgspec.structs.replace(run, marks=(*marks(run.measured, noise), *cuts))
    if cut:
        raise CutShort(run)
    return run


def _loaded(
    environment: Environment,
    level: float,
    per_user: float,
    seconds: float,
    heard: _Heard,
    incidents: Sequence[Incident],
) -> bool:
    """Put load on until its end, or until Ctrl-C: then it says True. All that it started has ended afterwards."""
    cut = False
    acting = [gevent.spawn(_act, each, heard) for each in incidents]
    try:
        with INTERRUPTION.heard():
            _drive(environment, level, per_user, seconds, heard)
    except KeyboardInterrupt:
        cut = True
    finally:
        gevent.killall(acting)
        _quit(environment)
    if environment.process_exit_code and not cut:
        raise GeneratorFailed(_reason(environment))
    return cut


def _drive(environment: Environment, level: float, per_user: float, seconds: float, heard: _Heard) -> None:
    """Have users at work until the generator has told of the last second, or the shape has ended."""
    runner = environment.runner
    assert runner is not None
    if environment.shape_class:
        runner.start_shape()
    else:
        users = max(1, round(level / per_user))
        runner.start(users, spawn_rate=users)
    give_up_s = time.monotonic() + seconds + _LATE_S
    while not heard.until(seconds) and time.monotonic() < give_up_s:
        if environment.process_exit_code or (environment.shape_class and runner.state in {"stopping", "stopped"}):
            break
        gevent.sleep(_LOOK_S)


def _quit(environment: Environment) -> None:
    """End users and their generator, Ctrl-C or not, and hear the last slices."""
    assert environment.runner is not None
    environment.runner.quit()


def _reason(environment: Environment) -> str:
    errors = [str(each.error) for each in environment.stats.errors.values()]
    return next((each for each in errors if "generator" in each), "the generator failed")


class _Heard:
    """The slices and events of one stretch, in seconds since its generator began."""

    def __init__(self, tell: Tell) -> None:
        self.slices: list[wire.Slice] = []
        self.events: list[tuple[float, str]] = []
        self._tell = tell
        self._begun_s = time.monotonic()

    def slice(self, slice: wire.Slice, **_: object) -> None:  # noqa: A002  # Locust's listeners go by names
        """Called for each."""
        self._begun_s = min(self._begun_s, time.monotonic() - slice.end_s) if self.slices else _since(slice)
        self.slices.append(slice)
        self._tell(slice)

    def until(self, seconds: float) -> bool:
        """Whether slices have come up to then."""
        return bool(self.slices) and self.slices[-1].end_s >= seconds

    def note(self, text: str) -> None:
        """Something has just happened."""
        self.events.append((round(time.monotonic() - self._begun_s, 3), text))


def _since(slice: wire.Slice) -> float:  # noqa: A002
    return time.monotonic() - slice.end_s


def _environment(plan: wire.Plan, level: float, shape: Shape | None, heard: _Heard) -> tuple[Environment, float]:
    """An environment with one class of users, and the level that one user is."""
    per_user = _per_user(plan, level, shape)
    user = user_class(plan, "Load", per_user)
    environment = Environment(user_classes=[user], shape_class=_Schedule(shape, per_user) if shape else None)
    slices_of(environment).add_listener(heard.slice)  # type: ignore[no-untyped-call]
    environment.create_local_runner()
    return environment, per_user


def _per_user(plan: wire.Plan, level: float, shape: Shape | None) -> float:
    if plan.arrival == "closed":
        return 1.0
    return max(1.0, level / _MOST_USERS) if shape else level


def _act(incident: Incident, heard: _Heard) -> None:
    while not heard.until(incident.at_s):
        gevent.sleep(_LOOK_S)
    try:
        incident.act(heard.note)
    except Exception as error:  # noqa: BLE001  # the load goes on, and the result says it
        heard.note(f"failed: {error}")


def _cut(after_s: float, of_s: float) -> str:
    return f"{CUT_SHORT}: ended by Ctrl-C after {after_s:.1f} of {of_s:g} s"


def _kept(told: wire.Slice) -> Slice:
    return Slice(
        begin_s=told.begin_s,
        end_s=told.end_s,
        level=told.level,
        sent=told.sent,
        answers={
            name: Distribution(each.succeeded, _base64(each.latency), _base64(each.service))
            for name, each in told.answers.items()
        },
        failures=told.failures,
        first_failure=told.first_failure,
        waiting=told.waiting,
        under_way=told.under_way,
        late_us=told.late_us,
        cpu=told.cpu,
    )


def _base64(histogram: bytes) -> str:
    return base64.b64encode(histogram).decode()
