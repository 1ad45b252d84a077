"""What a frontend process is told when it starts: one line of JSON on its stdin."""

from __future__ import annotations

import msgspec


class Charge(msgspec.Struct, frozen=True, kw_only=True):
    """`link` and `sockets` are descriptors that it inherits: to control, and HTTP's sockets, of frontends 1, 2, …"""

    number: int
    link: int
    sockets: list[int]
    host: str
    grpc_port: int
    max_body_bytes: int
    drain_timeout_s: float
    log_level: str
