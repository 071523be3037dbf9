"""Servers that answer with errors, with nothing, too slowly or without an end: every wait ends, and says what for."""

import http.client
import importlib
import logging
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
import urllib3
from urllib3.exceptions import ProtocolError

from components.config import Webhook
from components.surroundings import exchange, servers, waiting
from components.surroundings.notify import RunEnd, notify
from components.tracking import store
from elboflow.settings import WorkError
from elboflow.testing.platforms.faults import WIRE, Fault
from elboflow.testing.platforms.messages import Reply, Request
from elboflow.testing.platforms.wire import WireServer, free_port, route, wait_for
from pipelines import doctor

SECONDS = 2.0
"""What a server has in these tests, instead of 60."""

OTHERS: dict[str, Callable[[WireServer], Fault]] = {
    "answers 500": lambda server: server.faults.refuse("POST", ".*", 500, times=None),
    "never answers": lambda server: server.faults.delay("POST", ".*", 3600, times=None),
    "asks for an hour": lambda server: server.faults.refuse("POST", ".*", 429, times=None, Retry_After="3600"),
    "resets": lambda server: server.faults.inject(Fault("POST", ".*", reset=True, times=None)),
}


class Server(WireServer):
    """Answers what is no fault, and redirects for ever what asks for that."""

    @route("GET", "/redirects")
    def redirects(self, request: Request) -> Reply:
        return Reply(status=302, headers={"Location": "/redirects"})

    @route("GET", "/{path+}")
    def answers(self, request: Request, path: str) -> Reply:
        return Reply(b"{}")

    @route("PUT", "/{path+}")
    def takes(self, request: Request, path: str) -> Reply:
        return Reply(b"{}")


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


def break_off(server: WireServer, how: str) -> None:
    if how in WIRE:
        server.faults.break_off("POST", ".*", how)
        server.faults.break_off("GET", ".*", how)
    else:
        OTHERS[how](server)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server has two seconds, and MLflow's client pauses no longer than that."""
    monkeypatch.setattr(waiting, "ANSWER_SECONDS", SECONDS)
    monkeypatch.setattr(waiting, "NOTICE_SECONDS", SECONDS / 2)
    monkeypatch.setattr("components.tracking.timeouts._seconds", lambda: SECONDS)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    monkeypatch.setattr(logging.getLogger("elboflow"), "propagate", True)


@pytest.mark.parametrize("how", [*WIRE, *OTHERS, "nobody listens"])
def test_an_mlflow_that_does_not_answer_is_one_sentence_within_the_time(
    how: str, server: Server, impatient: None, caplog: pytest.LogCaptureFixture
):
    address = server.url
    if how == "nobody listens":
        address = f"http://localhost:{free_port()}"
    else:
        break_off(server, how)
    importlib.import_module("mlflow")  # before the clock starts: it takes seconds

    started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(WorkError) as failure:
        store.connect(address)
    # Six tries, between which MLflow's client pauses for up to a second, are what a quick refusal takes.
    assert time.monotonic() - started < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # kB; the answer itself is 64 MiB
    said = str(failure.value)
    assert said.startswith(f"cannot use the MLflow at {address}: ")
    assert "\n" not in said
    assert len(said) < 700
    if how in ("never answers", "dribbles its body"):
        assert f"the MLflow at {address} gave no answer for 2 s" in said
        assert f"waiting for the MLflow at {address}: no answer for 1 s" in caplog.messages


def test_redirects_that_never_end_are_followed_for_a_while_only(server: Server, impatient: None):
    servers.watch()
    with pytest.raises((requests.TooManyRedirects, servers.NoAnswerError)):
        requests.get(f"{server.url}/redirects")


def test_an_answer_that_is_whole_ends_the_wait_and_a_pause_between_two_requests_is_none(
    server: Server, impatient: None, caplog: pytest.LogCaptureFixture
):
    servers.watch()
    session = requests.Session()
    for _ in range(3):
        assert session.get(f"{server.url}/x").json() == {}
        time.sleep(0.6 * SECONDS)
    assert server.address not in caplog.text


def test_a_server_that_comes_back_has_all_its_time_again(server: Server, impatient: None):
    servers.watch()
    hanging = server.faults.delay("GET", ".*", 3600)
    with pytest.raises(servers.NoAnswerError):
        requests.get(f"{server.url}/x")
    started = time.monotonic()
    assert requests.get(f"{server.url}/x").ok
    assert hanging.met == 1
    server.faults.delay("GET", ".*", 0.8 * SECONDS)
    assert requests.get(f"{server.url}/x").ok
    assert time.monotonic() - started < 2 * SECONDS


FILE = "/api/2.0/mlflow-artifacts/artifacts/1/weights"


def test_a_file_may_be_larger_and_take_longer_than_an_answer(
    server: Server, impatient: None, monkeypatch: pytest.MonkeyPatch
):
    servers.watch()
    monkeypatch.setattr(exchange, "ANSWER_BYTES", 100_000)
    server.faults.inject(Fault("GET", ".*", wire="never ends its body", times=None))
    with pytest.raises(servers.NoAnswerError, match="answers with more than 0 MiB"):
        requests.get(f"{server.url}/x")
    with requests.get(server.url + FILE, stream=True) as answer:
        held = sum(len(next(answer.iter_content(2**16))) for _ in range(200))
    assert held > 10_000_000

    def slowly() -> Iterator[bytes]:
        for _ in range(10):
            time.sleep(SECONDS / 5)
            yield b"x" * 50_000

    assert requests.put(server.url + FILE, data=slowly()).ok
    assert requests.put(server.url + FILE, data=b"x" * 20_000_000).ok


@pytest.mark.parametrize("preload", [True, False])
def test_bytes_that_unpack_to_very_many_are_not_unpacked(server: Server, impatient: None, preload: bool):
    servers.watch()
    server.faults.break_off("GET", ".*", "packs a huge body")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(servers.NoAnswerError, match="more than 64 MiB"):
        _ = urllib3.PoolManager().request("GET", f"{server.url}/x", preload_content=preload, retries=False).data
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000


REPLY = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"


def test_bytes_that_are_no_answer_are_an_error_of_the_request(
    server: Server, impatient: None, monkeypatch: pytest.MonkeyPatch
):
    servers.watch()
    moment = random.Random(0)
    sent = b""
    monkeypatch.setitem(WIRE, "broken", lambda: iter([sent]))
    server.faults.break_off("GET", ".*", "broken")
    outcomes = {True: 0, False: 0}
    for _ in range(300):
        mutated = bytearray(REPLY)
        for _ in range(moment.randrange(1, 8)):
            place = moment.randrange(len(mutated))
            mutated[place : place + moment.randrange(3)] = moment.randbytes(moment.randrange(4))
        sent = bytes(mutated[: moment.randrange(len(mutated)) if moment.random() < 0.3 else None])
        monkeypatch.setattr(waiting, "_servers", {})
        try:
            answered = bool(requests.get(f"{server.url}/x", timeout=5).content is not None)
        except (requests.RequestException, servers.NoAnswerError):
            answered = False
        outcomes[answered] += 1
    assert min(outcomes.values()) > 10, outcomes


def test_a_connection_that_was_closed_without_an_answer_is_told_without_the_layers_of_the_library():
    closed = http.client.RemoteDisconnected("Remote end closed connection without response")
    assert servers.short(ProtocolError("Connection aborted.", closed)) == str(closed)


@pytest.mark.parametrize("how", WIRE)
def test_a_webhook_that_does_not_answer_costs_seconds_and_one_line(
    how: str, server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(waiting, "ANSWER_SECONDS", SECONDS)
    monkeypatch.setattr("components.surroundings.notify.SECONDS_PER_TRY", SECONDS / 3)
    monkeypatch.setattr("components.surroundings.notify._PAUSE", 0.01)
    monkeypatch.setenv("ELBOFLOW_WEBHOOK", f"{server.url}/S3CR3T")
    monkeypatch.setattr(logging.getLogger("elboflow"), "propagate", True)
    break_off(server, how)
    started = time.monotonic()
    notify(RunEnd("digits-1", "digits", "failed", "train", "why"), Webhook())
    assert time.monotonic() - started < 3 * SECONDS
    assert "S3CR3T" not in caplog.text
    if how in ("an empty reply", "dribbles its headers", "never ends its headers"):  # else there is an answer
        assert caplog.messages[-1].startswith(
            "no notification was sent of how digits-1 ended: the webhook in ELBOFLOW_WEBHOOK "
        )


@pytest.mark.parametrize("how", [*WIRE, "never answers", "answers 500", "nobody listens"])
def test_doctor_finds_an_mlflow_that_does_not_answer_within_seconds(
    how: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for method in ("GET", "POST"):
        if how in WIRE:
            server.faults.break_off(method, ".*", how)
        elif how == "answers 500":
            server.faults.refuse(method, ".*", 500, times=None)
        else:
            server.faults.delay(method, ".*", 3600, times=None)
    address = f"http://me:S3CR3T@localhost:{free_port() if how == 'nobody listens' else server.port}"
    monkeypatch.setenv("ELBOFLOW_TRACKING_URI", address)
    monkeypatch.setattr(doctor, "SECONDS", 1.0)
    monkeypatch.setattr("pipelines.targets.checks.SECONDS", 1.0)
    mlflow = [check for check in doctor.checks("local", None, tmp_path) if check.what.startswith("MLflow")]
    monkeypatch.setattr(doctor, "checks", lambda *_: mlflow)
    started = time.monotonic()
    (found,) = doctor.examine("local", None, tmp_path)
    assert time.monotonic() - started < 4
    assert found.state == "problem", found
    assert found.remedy
    assert "S3CR3T" not in str(found)


STEP = """
import sys
from contextlib import suppress
from components.tracking import store
from pipelines.step_process.process import step
from elboflow.settings import WorkError
with step():
    try:
        store.connect(sys.argv[1])
    finally:
        with suppress(WorkError):  # as where something is tidied up
            store.connect(sys.argv[1])
"""
COMMAND = ["-m", "pipelines", "generate", "models:/digits-vae@champion", "--output", "x.png"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "number", "how"),
    [
        (["-c", STEP], signal.SIGTERM, "never answers"),
        (["-c", STEP], signal.SIGINT, "dribbles its body"),
        (["-c", STEP], signal.SIGTERM, "answers 500"),
        (["-c", STEP], signal.SIGINT, "nobody listens"),
        (COMMAND, signal.SIGINT, "never answers"),
        (COMMAND, signal.SIGTERM, "nobody listens"),
    ],
)
def test_a_signal_ends_a_wait_at_once(
    words: list[str], number: signal.Signals, how: str, server: Server, tmp_path: Path
):
    address = server.url
    if how == "nobody listens":
        address = f"http://localhost:{free_port()}"
    else:
        break_off(server, how)
    arguments = [sys.executable, *words, *([] if words == COMMAND else [address])]
    process = subprocess.Popen(
        arguments,
        env={**os.environ, "ELBOFLOW_TRACKING_URI": address, "PYTHONPATH": str(Path.cwd())},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )
    assert process.stdout is not None
    said = ""
    while "waiting for" not in said:  # a server that never answers is asked by then, any other is paused for
        line = process.stdout.readline()
        assert line, said
        said += line
    assert f"waiting for the MLflow at {address}: no answer for 10 s" in said
    started = time.monotonic()
    process.send_signal(number)
    rest, _ = process.communicate(timeout=60)
    took = time.monotonic() - started
    assert took < 5, said + rest  # what is tidied up has two seconds
    assert process.returncode == 128 + number, said + rest
    assert "Traceback" not in rest


THREADS = """
import sys, threading
from concurrent.futures import ThreadPoolExecutor
import requests
from components.surroundings import servers
from pipelines.step_process.process import step
with step():
    servers.watch()
    with ThreadPoolExecutor(4) as pool:  # Python ends no earlier than its threads
        print("begun", flush=True)
        list(pool.map(requests.get, [sys.argv[1]] * 4))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_waits_of_other_threads_too(number: signal.Signals, server: Server, tmp_path: Path):
    server.faults.delay("GET", ".*", 3600, times=None)
    process = subprocess.Popen(
        [sys.executable, "-c", THREADS, f"{server.url}/x"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    wait_for(lambda: len(server.asked("GET", "/x")) == 4)
    started = time.monotonic()
    process.send_signal(number)
    said, _ = process.communicate(timeout=30)
    assert time.monotonic() - started < 2, said
    assert process.returncode == 128 + number, said


@pytest.mark.slow
def test_the_defaults_give_an_mlflow_a_minute(server: Server):
    server.faults.delay("POST", ".*", 3600, times=None)
    started = time.monotonic()
    with pytest.raises(WorkError, match="gave no answer for 60 s"):
        store.connect(server.url)
    assert 55 < time.monotonic() - started < 70
