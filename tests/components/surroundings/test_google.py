"""Google's REST APIs through one session, against a server on this machine."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from components.surroundings import google, retries
from elboflow.testing.platforms.messages import Reply, Request, answer
from elboflow.testing.platforms.wire import WireServer, route


class Things(WireServer):
    """An API with a list of five things, two on a page."""

    tokens = 0

    @route("GET", "/v1/things")
    def things(self, request: Request) -> Reply:
        first = int(request.one("pageToken") or 0)
        page = {"things": [f"{request.one('kind')} {number}" for number in range(first, min(first + 2, 5))]}
        return answer({**page, "nextPageToken": str(first + 2)} if first + 2 < 5 else page)


class Caller:
    """Credentials whose token is one of the server's, as far as `AuthorizedSession` asks."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.token, self.refreshes, self._failure = "", 0, failure
        self.ready = threading.Event()

    @property
    def valid(self) -> bool:
        return bool(self.token)

    def refresh(self, request: object) -> None:
        self.refreshes += 1
        self.ready.wait(10)
        if self._failure is not None:
            raise self._failure
        self.token = "of-the-caller"

    def before_request(self, request: object, method: str, url: str, headers: dict[str, str]) -> None:
        headers["authorization"] = f"Bearer {self.token}"


@pytest.fixture
def things(monkeypatch: pytest.MonkeyPatch) -> Iterator[Things]:
    monkeypatch.setattr(retries, "WAITS", (0.01, 0.01))
    with Things("of-the-caller") as server:
        yield server


@pytest.fixture
def session() -> google.Session:
    caller = Caller()
    caller.ready.set()
    return google.Session(caller)


def test_all_pages_of_a_list_are_asked_for_as_far_as_they_are_read(things: Things, session: google.Session):
    def listed() -> Iterator[str]:
        return google.pages(lambda token: session.get(f"{things.url}/v1/things", kind="blue", **token), "things")

    assert list(listed()) == [f"blue {number}" for number in range(5)]
    things.requests.clear()
    assert next(listed()) == "blue 0"
    assert len(things.requests) == 1


@pytest.mark.parametrize(("status", "asked"), [(503, 3), (429, 3), (400, 1), (403, 1), (404, 1)])
def test_a_busy_api_is_asked_again_and_its_words_are_kept(
    things: Things, session: google.Session, status: int, asked: int
):
    things.faults.refuse("GET", "/v1/things", status, "so it is.\nand more", times=None, Retry_After="0")
    with pytest.raises(google.GoogleError, match=r"^so it is$") as refused:
        session.get(f"{things.url}/v1/things")
    assert (refused.value.status, len(things.requests)) == (status, asked)


def test_a_connection_that_breaks_is_made_again(things: Things, session: google.Session):
    things.faults.reset("GET", "/v1/things")
    assert session.get(f"{things.url}/v1/things", kind="red")["things"] == ["red 0", "red 1"]
    assert len(things.requests) == 2


def test_threads_that_ask_at_once_refresh_the_token_once_and_share_its_failure(things: Things):
    for failure in (None, ConnectionError("no network")):
        caller, answers = Caller(failure), []
        shared = google.Session(caller)

        def ask(shared: google.Session = shared, answers: list[object] = answers) -> None:
            try:
                answers.append(shared.token())
            except ConnectionError as error:
                answers.append(error)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(0.2)  # until all of them wait for the token
        caller.ready.set()
        for thread in threads:
            thread.join()
        assert answers == [failure or "of-the-caller"] * 4
        assert caller.refreshes == 1


def test_asking_vertex_ai_imports_no_generated_client():
    asked = (
        "import sys; from pipelines.targets.vertex.client import VertexClient\n"
        "from components.surroundings.google import Session; Session(None)\n"
        "print([name for name in sys.modules if name.startswith(('google.cloud.', 'google.api_core', 'grpc'))])"
    )
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, encoding="utf-8")
    assert (done.stdout, done.stderr) == ("[]\n", "")
