"""What an error of a platform's API means for a person: one sentence that says what to do."""

from dataclasses import dataclass

from elboflow.settings import RequestError, WorkError


@dataclass(frozen=True)
class Remedies:
    """What to do about the errors of a platform.

    Attributes:
        place: What a person calls the platform.
        login: Renews credentials.
        role: What a caller needs who is refused.
        lookup: Where to look for the reason that something is not there.
        address: Where to look when the platform cannot be reached.
        quota: What to do about too many requests.
    """

    place: str
    login: str
    role: str
    lookup: str
    address: str
    quota: str = "try again later"

    def error(self, status: int | None, said: str, what: str) -> RequestError | WorkError:
        """Returns the error of a command that asked for `what`, such as "the run digits-…"."""
        match status:
            case 301 | 302 | 303 | 307 | 308:
                return RequestError(f"{self.place} asks for a login ({status}); {self.login}")
            case 401:
                return RequestError(f"{self.place} does not accept the credentials (401): {said}; {self.login}")
            case 403:
                return RequestError(f"{self.place} forbids {what} (403): {said}; {self.role}")
            case 404:
                absent = what.removeprefix("the ")
                return RequestError(f"{self.place} has no {absent} (404): {said}; {self.lookup}")
            case 409:
                sentence = f"{what} conflicts with what is there (409): {said}; look, and ask again"
                return RequestError(f"{self.place}: {sentence}")
            case 429:
                return WorkError(f"{self.place} has had too many requests (429): {said}; {self.quota}")
            case code if code is not None and 400 <= code < 500:
                return RequestError(f"{self.place} refuses {what} ({code}): {said}")
        return WorkError(f"{self.place} failed at {what} ({status or 'no code'}): {said}; try again later")

    def unreachable(self, said: str) -> WorkError:
        """Returns the error of a command that got no answer."""
        return WorkError(f"{self.place} cannot be reached: {said}; look at {self.address}")
