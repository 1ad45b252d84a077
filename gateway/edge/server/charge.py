"""What an edge server is told when it starts: by its command, or by the gateway as one line of JSON on its stdin."""

from __future__ import annotations

import msgspec


class Charge(msgspec.Struct, frozen=True, kw_only=True):
    """`socket` is the descriptor of a listening socket; `keys` has the online keys, empty where nothing is signed here.

    `token` opens the status to others than this machine, `allow_origin` the rest to a web page of that origin ("*":
    to any); `demo` has the built demo page, empty where none is served; `poll_s` is what devices are told to wait
    between two questions.
    """

    folder: str
    socket: int
    store: str
    store_name: str
    keys: str = ""
    token: str = ""
    allow_origin: str = ""
    demo: str = ""
    poll_s: int = 3600
    max_connections: int = 4096
    log_level: str = "info"
