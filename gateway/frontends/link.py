"""The connection between control and a frontend: calls both ways, each answered when it is done."""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias, TypeVar, overload

import msgspec

from adapters import errors as below
from adapters.errors import ServingError
from gateway import errors
from gateway.frontends.messages import Act, Answer, Ask, Failed, Frame

_log = logging.getLogger(__name__)

_SIZE: Final = struct.Struct(">I")
_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(Frame)
_KINDS: Final[dict[str, type[ServingError]]] = {
    each.__name__: each
    for each in (
        below.BackendDied,
        below.BackendUnavailable,
        below.DeadlineExceeded,
        below.InferenceFailed,
        below.InvalidInput,
        below.LoadFailed,
        errors.Conflict,
        errors.ModelNotFound,
        errors.NotAllowed,
        errors.RequestTooLarge,
        errors.Unsupported,
        errors.VersionNotReady,
    )
}

T = TypeVar("T")
Respond: TypeAlias = Callable[[Act], Awaitable[object]]


class LinkLost(Exception):
    """The other end is gone."""


class PeerFailed(Exception):
    """The other end failed in a way that nobody foresaw; its log says more."""


class Link:
    """One end, in the running event loop."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._numbers = itertools.count(1)
        self._waiting: dict[int, tuple[asyncio.Future[Any], Any]] = {}
        self._responding: set[asyncio.Task[None]] = set()
        self._lost = False

    @classmethod
    async def open(cls, end: socket.socket) -> Link:
        """An end of a pair of Unix sockets."""
        return cls(*await asyncio.open_unix_connection(sock=end))

    @overload
    def call(self, act: Act) -> asyncio.Future[None]: ...
    @overload
    def call(self, act: Act, gives: type[T]) -> asyncio.Future[T]: ...
    def call(self, act: Act, gives: Any = None) -> asyncio.Future[Any]:
        """Ask the other end for something. It is on its way when this returns, behind all that was sent before.

        The future raises LinkLost, PeerFailed, and what the other end raised of ServingErrors.
        """
        number = next(self._numbers)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self._lost:
            _lose(future)
            return future
        self._send(Ask(number, act))
        self._waiting[number] = future, gives
        future.add_done_callback(lambda _: self._waiting.pop(number, None))
        return future

    def tell(self, act: Act) -> None:
        """Ask for something without an answer; nothing comes of it where the other end is gone."""
        self._send(Ask(0, act))

    def _send(self, frame: Frame) -> None:
        if not self._lost:
            data = _ENCODER.encode(frame)
            self._writer.write(_SIZE.pack(len(data)) + data)

    async def serve(self, respond: Respond) -> None:
        """Do what the other end asks for until it is gone, or `close`.

        `respond` is begun in the order of the calls; what it answers is plain data, what it raises goes back.
        """
        try:
            while True:
                (size,) = _SIZE.unpack(await self._reader.readexactly(_SIZE.size))
                self._take(_DECODER.decode(await self._reader.readexactly(size)), respond)
        except (asyncio.IncompleteReadError, OSError):
            pass
        except msgspec.MsgspecError:
            _log.exception("what came over a link cannot be read; it is given up")
        finally:
            self.close()

    def _take(self, frame: Frame, respond: Respond) -> None:
        if isinstance(frame, Ask):
            task = asyncio.create_task(self._respond(frame, respond))
            self._responding.add(task)
            task.add_done_callback(self._responding.discard)
            return
        future, gives = self._waiting.get(frame.number, (None, None))
        if future is None or future.done():
            return  # whoever asked waits no longer
        if isinstance(frame, Answer):
            future.set_result(msgspec.msgpack.decode(frame.value, type=gives))
        else:
            kind = _KINDS.get(frame.kind)
            future.set_exception(kind(frame.text) if kind else PeerFailed(frame.text))

    async def _respond(self, ask: Ask, respond: Respond) -> None:
        try:
            value = await respond(ask.act)
            answer: Frame = Answer(ask.number, msgspec.Raw(_ENCODER.encode(value)))
        except ServingError as error:
            answer = Failed(ask.number, type(error).__name__, str(error))
        except Exception:  # noqa: BLE001  # the other end must not wait for ever
            _log.exception("%s failed", type(ask.act).__name__)
            answer = Failed(ask.number, "", "internal error; the gateway's log says more")
        if ask.number:
            self._send(answer)

    def close(self) -> None:
        """Hang up: whoever waits here for an answer gets LinkLost, and nobody there does."""
        if self._lost:
            return
        self._lost = True
        self._writer.close()
        for future, _ in list(self._waiting.values()):
            if not future.done():
                _lose(future)
        for task in self._responding:
            task.cancel()


def _lose(future: asyncio.Future[Any]) -> None:
    future.set_exception(LinkLost())
    future.exception()  # it is no news where nobody waits any more
