"""What can go wrong below the gateway, named by meaning and not by any protocol's code."""


class ServingError(Exception):
    """An error whose text may be shown to the caller: it names the field, what was expected and what was got.

    `headers` are what the caller is told besides, as names and values.
    """

    headers: tuple[tuple[str, str], ...] = ()


class InvalidInput(ServingError):
    """The caller's tensors do not fit the model; sending them again unchanged cannot succeed."""


class LoadFailed(ServingError):
    """The artifact cannot be loaded; trying again is useless until its files or options change."""


class BackendUnavailable(ServingError):
    """The backend is not there at the moment (died, unreachable); trying again later may succeed."""


class BackendDied(BackendUnavailable):
    """The process that held the model, or was loading it, ended by itself; the model may be what killed it."""


class InferenceFailed(ServingError):
    """The model ran and failed, or answered something that is not an answer."""


class DeadlineExceeded(ServingError):
    """The answer was not there when the request's time was up."""
