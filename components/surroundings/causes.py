"""Why a request failed, in a line for a person: the cause, without the layers of the libraries around it."""

import json

from components.surroundings.waiting import NO_ANSWER, NoAnswerError

_LONGEST = 500  # characters


def short(error: BaseException) -> str:
    """Returns what went wrong on the way to a server, without the layers of the libraries around it."""
    deepest: BaseException = error
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, NoAnswerError):
            return str(cause)
        if isinstance(cause, TimeoutError):
            return NO_ANSWER
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        deepest, cause = cause, cause.__cause__ or cause.__context__
        if cause is None and deepest.args and isinstance(deepest.args[-1], BaseException):
            cause = deepest.args[-1]  # urllib3 keeps what ended a connection as an argument, not as the cause
    return str(deepest).partition("\n")[0][:_LONGEST] or type(deepest).__name__


def reason(error: BaseException) -> str:
    """Returns the first line of an error of MLflow's, or what went wrong on the way to its server."""
    from requests import RequestException

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, RequestException | NoAnswerError):
            return short(error)
        cause = cause.__cause__ or cause.__context__
    return str(error).strip().partition("\n")[0][:_LONGEST]  # an answer's body may be part of it


def said(body: str | bytes | None, otherwise: object) -> str:
    """Returns the first line of what a REST API says in the body of an error, or else of another reason.

    Google writes {"error": {"message": …}}, Kubeflow {"message": …} or {"error": …}.
    """
    text: object = None
    try:
        answer = json.loads(body or "")
        error = answer.get("error")
        text = error.get("message") if isinstance(error, dict) else answer.get("message") or error
    except (ValueError, AttributeError):
        pass  # a proxy's page
    return first_line(text or otherwise)


def first_line(text: object) -> str:
    """Returns the first line of a text, without a full stop, to be put into a sentence."""
    return str(text).strip().partition("\n")[0].rstrip(".")[:_LONGEST] or "no reason given"
