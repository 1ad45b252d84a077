"""How every gRPC method answers: deadlines carried on, errors by the one table, nothing unforeseen told."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final, NoReturn, TypeAlias

import grpc
from google.protobuf.message import DecodeError

from adapters.errors import ServingError
from gateway.errors import Overloaded
from gateway.protocols.grpc_status import GRPC_STATUS
from gateway.protocols.message_counts import check_fields
from gateway.types import Assigned, Deployment

_log = logging.getLogger(__name__)

_TEXT_CHARACTERS: Final = 2000
"""gRPC refuses a status whose text does not fit into its headers' 8 kB."""

_FOREVER_S: Final = 365 * 24 * 3600.0


class Call:
    """One call, besides its message."""

    __slots__ = ("_context",)

    def __init__(self, context: Any) -> None:
        self._context = context

    @property
    def timeout_ms(self) -> float | None:
        """Milliseconds left until the caller's deadline; None where it has none."""
        left_s = self._context.time_remaining()
        return None if left_s is None or left_s > _FOREVER_S else max(left_s, 0.0) * 1000

    def metadata(self) -> dict[str, str | bytes]:
        """What the caller sent besides the message."""
        return {str(key): value for key, value in self._context.invocation_metadata() or ()}

    def header(self, name: str) -> bytes | None:
        """See Caller; of several of one name the last counts, as over HTTP."""
        found = None
        for key, value in self._context.invocation_metadata() or ():
            if key == name:
                found = value.encode() if isinstance(value, str) else bytes(value)
        return found

    def served_by(self, deployment: Deployment, assigned: Assigned | None = None) -> None:
        """Say which deployment answered, and for which variant, in the trailing metadata."""
        variant = () if assigned is None else assigned.headers()
        self._context.set_trailing_metadata((("torii-served-by", str(deployment)), *variant))


Act: TypeAlias = Callable[[Any, Call], Awaitable[Any]]
StreamAct: TypeAlias = Callable[[AsyncIterator[Any], Call], AsyncIterator[Any]]


def unary(act: Act, request_type: Any) -> grpc.RpcMethodHandler:
    """A method of one request and one answer; `act` raises ServingErrors."""

    async def answer(data: bytes, context: Any) -> Any:
        try:
            return await act(_parse(request_type, data), Call(context))
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001  # nothing may leave a caller without an answer
            await _refuse(error, context)

    return grpc.unary_unary_rpc_method_handler(answer, response_serializer=_serialize)


def stream(act: StreamAct, request_type: Any) -> grpc.RpcMethodHandler:
    """A method of many requests and many answers; `act` raises ServingErrors for what ends the stream."""

    async def answer(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[Any]:
        try:
            async for response in act((_parse(request_type, data) async for data in requests), Call(context)):
                yield response
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001
            await _refuse(error, context)

    return grpc.stream_stream_rpc_method_handler(answer, response_serializer=_serialize)


def _parse(request_type: Any, data: bytes) -> Any:
    check_fields(data, request_type.DESCRIPTOR)
    return request_type.FromString(data)


def service(name: str, methods: Mapping[str, grpc.RpcMethodHandler]) -> Any:
    """The handlers of one service, to be added to a server."""
    return grpc.method_handlers_generic_handler(name, dict(methods))


def _serialize(message: Any) -> bytes:
    data: bytes = message.SerializeToString()
    return data


async def _refuse(error: Exception, context: Any) -> NoReturn:
    code, text = status(error)
    trailing: tuple[tuple[str, str], ...] = (
        (("retry-after", str(error.retry_after)),) if isinstance(error, Overloaded) else ()
    )
    if isinstance(error, ServingError):
        trailing += error.headers
    await context.abort(code, text, trailing)
    raise AssertionError("abort raises")


def status(error: Exception) -> tuple[grpc.StatusCode, str]:
    """The status and the text that callers are told of an exception; what nobody foresaw goes to the log."""
    if isinstance(error, ServingError) and type(error) in GRPC_STATUS:
        return GRPC_STATUS[type(error)], str(error)[:_TEXT_CHARACTERS]
    if isinstance(error, DecodeError):
        return grpc.StatusCode.INVALID_ARGUMENT, "the message cannot be parsed: expected the method's protobuf message"
    number = uuid.uuid4().hex[:12]
    _log.error("call %s failed", number, exc_info=error)
    return grpc.StatusCode.INTERNAL, f"internal error; the gateway's log has it under {number}"
