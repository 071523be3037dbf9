"""The two ways a person's command ends badly, and the exit code of each."""


class RequestError(ValueError):
    """The request was wrong and nothing was started: an unknown key, a missing file, an impossible combination."""

    exit_code = 2


class WorkError(RuntimeError):
    """The work failed for a reason that a person can understand and mend: damaged data, a NaN, a full disk."""

    exit_code = 1
