from __future__ import annotations

import pytest

from loadtests.engine.http1 import Heads, HttpConnection, to_bytes
from loadtests.engine.plan import Request, Target
from tests.loadtests.engine.listening import Heard, Nowhere

PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTorii-Served-By: digits/1@tflite\r\n\r\nhello"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;extension=1\r\nhel\r\n2\r\nlo\r\n0\r\nTrailer: yes\r\n\r\n"
)
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"
REFUSED = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 5\r\n\r\nlater"
CONTINUED = b"HTTP/1.1 100 Continue\r\n\r\n" + PLAIN


def asked(heads: Heads | None = None, keeps: bool = True) -> tuple[HttpConnection, Heard, Nowhere]:
    heard = Heard()
    connection = HttpConnection(heard, heads or Heads(), keeps)
    transport = Nowhere(connection)
    connection.connection_made(transport)
    connection.busy = True
    connection.send(b"POST / HTTP/1.1\r\n\r\n")
    return connection, heard, transport


@pytest.mark.parametrize("answer", [PLAIN, CHUNKED, CONTINUED])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_an_answer_may_come_in_any_pieces(answer: bytes, size: int) -> None:
    connection, heard, transport = asked()
    for _ in range(3):
        connection.busy = True
        for at in range(0, len(answer), size):
            connection.data_received(answer[at : at + size])

    assert [(each.status, each.failure, body) for each, body in heard.answers] == [(200, "", b"hello")] * 3
    assert not transport.closed


def test_an_answer_says_who_gave_it() -> None:
    connection, heard, _ = asked()
    connection.data_received(PLAIN)

    assert heard.answers[0][0].served_by == "digits/1@tflite"


def test_a_status_other_than_200_is_a_failure_that_keeps_its_text() -> None:
    connection, heard, _ = asked(keeps=False)
    for _ in range(2):
        connection.busy = True
        connection.data_received(REFUSED)

    assert [(each.failure, body) for each, body in heard.answers] == [("status 503", b"later")] * 2


def test_an_answer_without_a_body_ends_with_its_head() -> None:
    connection, heard, _ = asked()
    connection.data_received(EMPTY)

    assert heard.answers[0][0].status == 204


@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 200 OK\r\nConnection: close\r\n", b"HTTP/1.0 200 OK\r\n"], ids=["by its header", "by HTTP/1.0"]
)
def test_what_closes_is_closed_once_it_is_answered(head: bytes) -> None:
    heads = Heads()
    for _ in range(2):
        connection, heard, transport = asked(heads)
        connection.data_received(head + b"Content-Length: 2\r\n\r\nok")

        assert heard.answers[0][0].closes
        assert transport.closed


def test_a_body_without_a_length_ends_with_the_connection() -> None:
    connection, heard, transport = asked()
    connection.data_received(b"HTTP/1.1 200 OK\r\n\r\nhel")
    connection.data_received(b"lo")
    assert not heard.answers
    transport.close()

    assert heard.answers[0][1] == b"hello"


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"SSH-2.0-OpenSSH\r\n\r\n", "no answer of HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n", "no number"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "chunk"),
        (PLAIN + b"and more", "more than its answer"),
        (CHUNKED + b"and more", "more than its answer"),
        (b"x" * 100_000, "head has more than"),
    ],
)
def test_what_is_no_answer_ends_the_connection_and_says_why(sent: bytes, reason: str) -> None:
    connection, heard, transport = asked()
    connection.data_received(sent)

    assert transport.closed
    assert not heard.answers
    assert reason in heard.reasons[0]


def test_what_nobody_asked_for_ends_the_connection() -> None:
    connection, heard, transport = asked()
    connection.data_received(PLAIN)
    connection.data_received(PLAIN)

    assert len(heard.answers) == 1
    assert transport.closed


def test_a_connection_that_ends_in_the_middle_of_an_answer_gives_none() -> None:
    connection, heard, transport = asked()
    connection.data_received(PLAIN[:-1])
    transport.close()

    assert not heard.answers
    assert heard.reasons == ["the server closed the connection"]


def test_a_request_says_its_host_and_its_length() -> None:
    sent = to_bytes(Target("127.0.0.1", 8000, "http/1.1"), Request("/x", b"body", (("A", "1"),)))

    assert sent == b"POST /x HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nContent-Length: 4\r\nA: 1\r\n\r\nbody"
