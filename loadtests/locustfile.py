"""Load on a gateway by Locust: `locust -f loadtests/locustfile.py --host http://127.0.0.1:8000`.

The web page asks for the deployment, the dialect, the payload, closed or open loop, and a shape; so do the options of
the command line (`--help`). Each dialect and arrival also has a user class of its own, for the command line
(`… V2GrpcOpen`) and `--class-picker`; where none is named, the options decide.
"""

from __future__ import annotations

import json
import math
import urllib.error
import urllib.request
from argparse import ArgumentParser
from http.client import HTTPException
from typing import Any, ClassVar, Final
from urllib.parse import quote, urlsplit

from locust import LoadTestShape, events
from locust.env import Environment

from loadtests import shapes
from loadtests.dialects import DIALECTS, WrongAnswer, probe
from loadtests.dialects.deployment import Deployment
from loadtests.engine.plan import Arrival, Plan, Target
from loadtests.locust_users import EngineUser, Unable
from loadtests.payloads import payload

_METADATA_S: Final = 10.0
_ARRIVALS: Final[dict[str, Arrival]] = {"closed": "closed", "open": "poisson"}


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]  # Locust has no types here
def add_options(parser: ArgumentParser) -> None:
    """What the command line and the web page ask for."""
    add = parser.add_argument  # not those of a group: its options are not on the web page
    add("--deployment", default="digits", help="MODEL[/VERSION][@BACKEND]: digits/1@tflite")
    add("--dialect", choices=list(DIALECTS), default="v2-json", help="How the gateway is asked")
    add("--payload", default="digits", help="digits, image, invented, or the path of an .npz")
    add(
        "--arrival",
        choices=list(_ARRIVALS),
        default="closed",
        help="closed: every user is a connection that asks again once it is answered; "
        "open: requests come at random moments, whatever the answers do",
    )
    add("--rate-per-user", type=float, default=10.0, help="Open: requests a second for each user")
    add("--open-connections", type=int, default=512, help="Open: connections at most")
    add("--grpc-port", type=int, default=8001, help="The gateway's port for gRPC")
    add("--answer-within", type=float, default=30.0, help="Seconds after which a request has failed")
    add("--shape", choices=list(shapes.NAMES), default="constant", help="How load changes with time")
    add("--stop-at-p99-ms", type=float, default=1000.0, help="ramp: ends where p99 exceeds this")
    add("--stop-at-failures", type=float, default=0.05, help="ramp: ends where more than this share fails")


class Chosen(EngineUser):
    """Asks as the options say."""

    dialect: ClassVar[str] = ""
    arrival: ClassVar[str] = ""

    @classmethod
    def prepare(cls, environment: Environment) -> tuple[Plan, str, float]:
        """See EngineUser."""
        options: Any = environment.parsed_options
        dialect, arrival = DIALECTS[cls.dialect or options.dialect], cls.arrival or options.arrival
        target = _target(environment.host or "", dialect.protocol, options.grpc_port)
        try:
            deployment = Deployment.parse(options.deployment)
            made = payload(options.payload, _metadata(environment.host, deployment))
            requests = tuple(dialect.request(options.deployment, inputs) for inputs in made.inputs)
            dialect.outputs(probe(target, requests[0], options.answer_within))
        except (ValueError, WrongAnswer, OSError) as error:
            raise Unable(f"{options.deployment} by {dialect.name}: {error}") from None
        plan = Plan(
            target,
            requests,
            _ARRIVALS[arrival],
            connections=options.open_connections,
            served_by=options.deployment if deployment.pinned else "",
            timeout_s=options.answer_within,
        )
        per_user = 1.0 if arrival == "closed" else options.rate_per_user
        if not 0 < per_user < math.inf:
            raise Unable(f"rate-per-user: expected requests a second, more than 0, got {per_user}")
        return plan, f"{options.deployment} {dialect.name}", per_user


def _target(host: str, protocol: Any, grpc_port: int) -> Target:
    parts = urlsplit(host)
    if parts.scheme != "http" or not parts.hostname:
        raise Unable(f"host: expected http://NAME:PORT, got {host!r:.200} (the generator speaks no TLS)")
    return Target(parts.hostname, grpc_port if protocol == "grpc" else parts.port or 80, protocol)


def _metadata(host: str | None, deployment: Deployment) -> dict[str, Any]:
    version = f"/versions/{deployment.version}" if deployment.version else ""
    url = f"{(host or '').rstrip('/')}/v2/models/{quote(deployment.name)}{version}"
    try:
        with urllib.request.urlopen(url, timeout=_METADATA_S) as answer:
            document: dict[str, Any] = json.load(answer)
    except urllib.error.HTTPError as error:
        raise Unable(f"{url} answers {error.code}: {error.read(300).decode(errors='replace')}") from None
    except (OSError, HTTPException) as error:  # urllib's are of the first kind
        reason = getattr(error, "reason", error)
        raise Unable(f"no gateway answers at {url}: {reason}; start one: torii serve") from None
    return document


def _user_class(dialect: str, arrival: str) -> type[Chosen]:
    name = "".join(part.capitalize() for part in (*dialect.split("-"), arrival))
    return type(name, (Chosen,), {"dialect": dialect, "arrival": arrival, "abstract": False, "__module__": __name__})


_classes: Final = [_user_class(dialect, arrival) for dialect in DIALECTS for arrival in _ARRIVALS]
globals().update({each.__name__: each for each in _classes})


@events.init.add_listener  # type: ignore[untyped-decorator]
def choose(environment: Environment, **_: object) -> None:
    """Where no class was chosen, the one that follows the options is the only one."""
    options = environment.parsed_options
    if options is not None and not options.user_classes and not options.class_picker:
        environment.user_classes[:] = [Chosen]


class Shape(LoadTestShape):
    """Follows the option `shape`; users are the highest level, the run time is its length."""

    abstract = False
    use_common_options = True

    def tick(self) -> tuple[int, float] | None:
        """Called by Locust every second."""
        assert self.runner is not None
        options: Any = self.runner.environment.parsed_options
        for_s = float(options.run_time) if options.run_time else None
        users = options.num_users or 1
        bounds = shapes.Bounds()
        if options.shape == "ramp":
            bounds = shapes.Bounds(options.stop_at_p99_ms, options.stop_at_failures)
        schedule = shapes.schedule(options.shape, users, for_s)
        at_s: float = self.get_run_time()  # type: ignore[no-untyped-call]
        ticked = shapes.tick(schedule, at_s, 1.0, bounds, self.runner.stats)
        if ticked is not None and options.shape == "constant":
            return ticked[0], float(options.spawn_rate or 1)
        return ticked
