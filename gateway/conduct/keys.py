"""The key that requests' tokens are made with: the same for all gateways that share a store."""

from __future__ import annotations

import os
from functools import partial
from typing import Final

from gateway.conduct.keeper import Keeper
from gateway.experiments.tokens import Token, read_token

_BYTES: Final = 32
_NAME: Final = "tokens"


class TokenKeys:
    """Until the store has said which, there is a key of this process alone, and what was made with that stays valid."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._own = os.urandom(_BYTES)
        self._shared = b""

    @property
    def current(self) -> bytes:
        """The one to make tokens with now."""
        return self._shared or self._own

    async def agree(self) -> None:
        """Have the store say which, if it has not and can; nothing changes after that."""
        from gateway.experiments.store.errors import StoreUnavailable  # noqa: PLC0415

        if not self._shared:
            try:
                self._shared = await self._keeper.do(lambda store: store.secret(_NAME, partial(os.urandom, _BYTES)))
            except StoreUnavailable:
                return

    def read(self, text: str) -> Token | None:
        """What a token says; None where it is none of ours."""
        token = read_token(self.current, text)
        return read_token(self._own, text) if token is None and self._shared else token
