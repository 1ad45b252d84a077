"""Asks deployments the same rows, and keeps what they answer; raises nothing: a deployment that fails says why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from loadtests.dialects import Dialect, Reply, WrongAnswer
from loadtests.engine.plan import Request, Target
from loadtests.gateways import Gateway, NoGateway
from loadtests.payloads import BadPayload, payload
from loadtests.verdict.answers import Arrays, Odd
from loadtests.verdict.candidates import Candidate
from loadtests.verdict.rows import Rows, requests, stacked, together

Ask: TypeAlias = Callable[[Target, Request], Reply]

_MOST_REQUESTS = 64
"""That are sent under load, in turn."""


class Asking:
    """One gateway, one dialect."""

    def __init__(self, gateway: Gateway, dialect: Dialect, ask: Ask) -> None:
        self._gateway = gateway
        self._dialect = dialect
        self._ask = ask

    def invented(self, candidates: Sequence[Candidate]) -> Rows | None:
        """Inputs that fit the first that says what it takes; None where none does."""
        for each in candidates:
            if each.going:
                try:
                    found = payload("invented", self._gateway.metadata(each.name))
                    return Rows("invented", stacked(found.inputs))
                except (BadPayload, NoGateway, Odd, ValueError) as error:
                    each.failure = f"no inputs could be made for it: {error!s:.300}"
        return None

    def ask(self, candidate: Candidate, rows: Rows) -> None:
        """Ask all rows, and note the answers, and the requests for the load that comes."""
        if not candidate.going:
            return
        try:
            made = [
                self._dialect.request(candidate.name, each)
                for each in requests(rows, self._gateway.metadata(candidate.name))
            ]
            candidate.requests = tuple(made[:_MOST_REQUESTS])
            answers = [self._answer(candidate.name, each) for each in made]
            candidate.outputs = together(answers, rows.count)
        except (Odd, WrongAnswer, NoGateway, OSError, ValueError) as error:
            candidate.failure = f"it does not answer these inputs: {error!s:.400}"

    def _answer(self, name: str, request: Request) -> Arrays:
        reply: Any = self._ask(self._gateway.target(self._dialect.protocol), request)
        outputs = self._dialect.outputs(reply)
        if reply.served_by and reply.served_by != name:
            raise Odd(f"{name} was asked, and {reply.served_by} answered")
        return outputs
