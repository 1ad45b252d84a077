"""Sockets that listen: alone on their port, or several on one, and what to say where a port is taken."""

from __future__ import annotations

import socket

_BACKLOG = 2048


class PortTaken(Exception):
    """Something else listens there already."""


def listen(host: str, port: int, setting: str) -> socket.socket:
    """A listening socket, alone on its port; raises PortTaken that names the setting to change."""
    bound = _bind(host, port, setting)
    try:
        bound.listen(_BACKLOG)
    except OSError as error:
        bound.close()
        raise _taken(host, port, setting, error) from None
    return bound


def listen_together(host: str, port: int, setting: str, count: int) -> list[socket.socket]:
    """Sockets among which the kernel shares out a port's connections; raises PortTaken as `listen` does.

    Nobody but this user's processes can join them, and no other Torii does: each first asks for its ports alone.
    """
    first = _bind(host, port, setting)
    sockets = [first]
    try:
        _share(first)
        first.listen(_BACKLOG)
        for _ in range(count - 1):
            sockets.append(_join(first))
            sockets[-1].listen(_BACKLOG)
    except OSError as error:
        for each in sockets:
            each.close()
        raise _taken(host, port, setting, error) from None
    return sockets


def hold(host: str, port: int, setting: str) -> socket.socket:
    """Takes a port for those who will listen there together, without listening; raises PortTaken as `listen` does."""
    bound = _bind(host, port, setting)
    # From now on, whoever is content with a port that nobody listens on does not get this one.
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    _share(bound)
    return bound


def _bind(host: str, port: int, setting: str) -> socket.socket:
    bound = socket.socket(_family(host))
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise _taken(host, port, setting, error) from None
    return bound


def _join(first: socket.socket) -> socket.socket:
    joined = socket.socket(first.family)
    joined.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    _share(joined)
    joined.bind(first.getsockname())
    return joined


def _share(bound: socket.socket) -> None:
    # Set after the bind on purpose: a socket that has it before may bind beside another Torii's.
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


def _taken(host: str, port: int, setting: str, error: OSError) -> PortTaken:
    flag = "--" + setting.replace("_", "-")
    return PortTaken(
        f"{setting}: cannot listen on {host} port {port} ({error.strerror}). "
        f"Is another Torii running? Stop it, or choose another port with {flag}."
    )


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def url(bound: socket.socket) -> str:
    """Where HTTP answers on a socket."""
    return f"http://{address(bound)}"


def address(bound: socket.socket) -> str:
    """A socket's own address, as host:port."""
    host, port = bound.getsockname()[:2]
    return join_address(host, port)


def join_address(host: str, port: int) -> str:
    """An address, as host:port."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
