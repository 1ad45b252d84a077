"""One connection of a worker: it never blocks on a slow peer, and what it keeps for it costs no more than its bytes."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator

import pytest

from adapters import wire
from adapters.worker.peer import Peer


@pytest.fixture
def ends() -> Iterator[tuple[Peer, socket.socket]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    theirs.setblocking(False)
    with ours, theirs:
        yield Peer(ours, select.poll()), theirs


def read(theirs: socket.socket, most: int = 2**30) -> bytes:
    """What is there to be read now."""
    data = b""
    while len(data) < most:
        try:
            data += theirs.recv(min(2**20, most - len(data)))
        except BlockingIOError:
            break
    return data


def test_what_a_slow_peer_does_not_take_is_kept_in_order_and_sent_later(ends: tuple[Peer, socket.socket]) -> None:
    peer, theirs = ends
    assert peer.send(b"first")
    assert not peer.send(bytes(2**21))
    assert not peer.send(b"last")
    received = read(theirs)
    while not peer.send(b""):
        received += read(theirs)
    received += read(theirs)
    assert received == b"first" + bytes(2**21) + b"last"


def test_what_is_kept_is_not_copied_each_time_that_a_little_of_it_is_taken(ends: tuple[Peer, socket.socket]) -> None:
    peer, theirs = ends
    peer.send(bytes(2**22))
    kept = peer._unsent
    for _ in range(3):
        read(theirs, 2**16)
        peer.send(b"")
    assert peer._unsent is kept


def test_a_peer_that_is_gone_raises_on_either_way(ends: tuple[Peer, socket.socket]) -> None:
    peer, theirs = ends
    assert peer.receive() == []
    theirs.close()
    with pytest.raises(OSError, match="closed"):
        peer.receive()
    with pytest.raises(OSError, match="Broken pipe"):
        peer.send(b"x")


def test_what_is_no_frame_raises(ends: tuple[Peer, socket.socket]) -> None:
    peer, theirs = ends
    theirs.send(b"\xff" * 128)
    with pytest.raises(wire.BrokenFrame):
        peer.receive()
