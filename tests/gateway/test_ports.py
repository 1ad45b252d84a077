"""Ports: alone, together, held; and what is said where one is taken."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from gateway.ports import PortTaken, address, hold, listen, listen_together, url

HOST = "127.0.0.1"
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux shares out connections")


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def number(bound: socket.socket) -> int:
    port: int = bound.getsockname()[1]
    return port


def test_a_port_that_is_taken_is_named_with_the_flag_that_chooses_another(closing: ExitStack) -> None:
    port = number(closing.enter_context(listen(HOST, 0, "http_port")))
    for take in (lambda: listen(HOST, port, "http_port"), lambda: hold(HOST, port, "http_port")):
        with pytest.raises(PortTaken, match=f"http_port: cannot listen on 127.0.0.1 port {port} .*--http-port"):
            take()


@linux
def test_connections_to_one_port_are_shared_out(closing: ExitStack) -> None:
    together = [closing.enter_context(each) for each in listen_together(HOST, 0, "http_port", 2)]
    assert number(together[0]) == number(together[1])
    for _ in range(64):
        closing.enter_context(socket.create_connection((HOST, number(together[0]))))
    accepted = []
    for each in together:
        each.setblocking(False)
        accepted.append(0)
        while True:
            try:
                closing.enter_context(each.accept()[0])
            except BlockingIOError:
                break
            accepted[-1] += 1
    assert sum(accepted) == 64
    assert min(accepted) > 0


@linux
@pytest.mark.parametrize("first", [listen, hold, lambda *a: listen_together(*a, 2)[0]], ids=["one", "held", "two"])
@pytest.mark.parametrize("second", [listen, hold, lambda *a: listen_together(*a, 2)[0]], ids=["one", "held", "two"])
def test_a_second_torii_never_shares_a_port(closing: ExitStack, first: object, second: object) -> None:
    port = number(closing.enter_context(first(HOST, 0, "http_port")))  # type: ignore[operator]
    with pytest.raises(PortTaken):
        second(HOST, port, "http_port")  # type: ignore[operator]


@linux
def test_a_held_port_is_for_those_who_join_it(closing: ExitStack) -> None:
    held = closing.enter_context(hold(HOST, 0, "grpc_port"))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, number(held)))
    for _ in range(2):
        joined = closing.enter_context(socket.socket())
        joined.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        joined.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        joined.bind((HOST, number(held)))
        joined.listen()
    closing.enter_context(socket.create_connection((HOST, number(held))))


def test_addresses_are_as_clients_write_them(closing: ExitStack) -> None:
    bound = closing.enter_context(listen(HOST, 0, "http_port"))
    assert (url(bound), address(bound)) == (f"http://{HOST}:{number(bound)}", f"{HOST}:{number(bound)}")
    if socket.has_ipv6:
        try:
            bound = closing.enter_context(listen("::1", 0, "http_port"))
        except PortTaken:
            return  # a machine without IPv6 on loopback
        assert url(bound) == f"http://[::1]:{number(bound)}"
