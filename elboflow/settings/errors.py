"""The two errors that end a command without a traceback, each with its exit code."""


class RequestError(ValueError):
    """The request was wrong and nothing was started: an unknown key, a missing file, an impossible combination."""

    exit_code = 2


class WorkError(RuntimeError):
    """The work failed for a reason that the user can mend: damaged data, a NaN, a full disk."""

    exit_code = 1
