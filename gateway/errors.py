"""What can go wrong in the gateway itself, besides what adapters.errors names."""

from math import ceil

from adapters.errors import ServingError


class ModelNotFound(ServingError):
    """No such model, version or backend; the text says what there is."""


class VersionNotReady(ServingError):
    """It is there, but cannot answer: still loading, or failed; the text says why."""


class Overloaded(ServingError):
    """Taking this request would only make it and the others late."""

    def __init__(self, text: str, retry_after_s: float) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s

    @property
    def retry_after(self) -> int:
        """Whole seconds after which to come again, as protocols tell them: at least 1."""
        return max(1, ceil(self.retry_after_s))


class RequestTooLarge(ServingError):
    """The request's body is over the server's limit."""


class NotAllowed(ServingError):
    """The server's settings do not allow it; the text names the setting."""


class Conflict(ServingError):
    """What is there now does not allow it; the text says what there is, and what to do first."""


class Unsupported(ServingError):
    """The protocol has it, but nothing here, or not this deployment's backend, can do it."""
