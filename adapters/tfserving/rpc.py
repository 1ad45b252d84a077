"""How Torii talks gRPC to a TF Serving: the channel, and the one table from statuses to errors."""

from __future__ import annotations

import asyncio
from collections.abc import Container
from typing import Any, Final

import grpc

from adapters.errors import BackendUnavailable, DeadlineExceeded, InferenceFailed, InvalidInput, ServingError

ERRORS: Final[dict[grpc.StatusCode, type[ServingError]]] = {
    grpc.StatusCode.CANCELLED: BackendUnavailable,  # by the server: a call that Torii cancels raises CancelledError
    grpc.StatusCode.UNKNOWN: InferenceFailed,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidInput,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.NOT_FOUND: BackendUnavailable,  # the model: it was unloaded behind Torii's back
    grpc.StatusCode.ALREADY_EXISTS: InferenceFailed,
    grpc.StatusCode.PERMISSION_DENIED: InferenceFailed,
    grpc.StatusCode.UNAUTHENTICATED: InferenceFailed,
    grpc.StatusCode.RESOURCE_EXHAUSTED: InferenceFailed,
    grpc.StatusCode.FAILED_PRECONDITION: InvalidInput,
    grpc.StatusCode.ABORTED: InferenceFailed,
    grpc.StatusCode.OUT_OF_RANGE: InvalidInput,
    grpc.StatusCode.UNIMPLEMENTED: InferenceFailed,
    grpc.StatusCode.INTERNAL: InferenceFailed,
    grpc.StatusCode.UNAVAILABLE: BackendUnavailable,
    grpc.StatusCode.DATA_LOSS: InferenceFailed,
}

_CHARACTERS = 500

_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.enable_http_proxy", 0),  # http_proxy in the environment is not meant for this
    ("grpc.use_local_subchannel_pool", 1),  # a connection for each channel: closing one disturbs no other
    ("grpc.enable_retries", 0),
    ("grpc.http2.bdp_probe", 0),  # a ping with every call, to learn how much may be sent ahead: this is said here
    ("grpc.http2.lookahead_bytes", 1 << 22),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
)


def open_channel(address: str) -> grpc.aio.Channel:
    """A channel to "host:port" or "unix:/path", which connects on its first use and again whenever it has to."""
    return grpc.aio.insecure_channel(address, options=_OPTIONS)


async def connected(channel: grpc.aio.Channel, address: str) -> None:
    """Connect a channel; raises BackendUnavailable at the first attempt that fails."""
    state = channel.get_state(try_to_connect=True)
    while state is not grpc.ChannelConnectivity.READY:
        if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
            raise BackendUnavailable(f"nothing answers at {address}: expected TF Serving's gRPC")
        await channel.wait_for_state_change(state)
        state = channel.get_state(try_to_connect=True)


async def call(
    method: Any,
    request: Any,
    *,
    limit_s: float | None = None,
    wait_for_ready: bool | None = None,
    none_where: Container[grpc.StatusCode] = (),
    verbatim: bool = False,
) -> Any:
    """Call a stub's method; None where it answers one of the statuses `none_where`. Cancelling cancels the call.

    `verbatim` is for callers who speak TF Serving's protocol: they are told their own mistakes in its very words.

    Raises:
        ServingError: what `ERRORS` says of the status; BackendUnavailable where the channel is or was closed.
    """
    try:
        return await method(request, timeout=limit_s, wait_for_ready=wait_for_ready)
    except grpc.aio.AioRpcError as error:
        if error.code() in none_where:
            return None
        raise serving_error(error, verbatim) from error
    except grpc.aio.UsageError as error:
        raise BackendUnavailable("the connection to TF Serving is closed") from error
    except asyncio.CancelledError:
        # Closing a channel cancels its calls; only a cancelled task may take that for its own cancellation.
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise BackendUnavailable("the connection to TF Serving was closed") from None


def serving_error(error: grpc.aio.AioRpcError, verbatim: bool = False) -> ServingError:
    """What a status means to Torii, with the first line of its text; `verbatim` leaves a caller's mistake its text."""
    code = error.code()
    text = (error.details() or "").strip() or "no details"
    kind = ERRORS[code]
    if verbatim and kind is InvalidInput:
        return InvalidInput(text[:_CHARACTERS])
    return kind(f"TF Serving: {text.splitlines()[0][:_CHARACTERS]} ({code.name})")
