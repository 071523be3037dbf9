"""Telling how a run ended: to a real HTTP server that answers well, badly or not at all, and to real commands."""

import json
import logging
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from components.config import Command, Webhook
from components.surroundings import notify as notifying
from components.surroundings.notify import RunEnd, notify

FAILED = RunEnd("digits-1", "digits", "failed", "train", "the loss is not a number", "https://console.example/runs/1")
PATH = "/services/T0/S3CR3TPATH"


class Server(ThreadingHTTPServer):
    """Gives the answers that it was told, one after the other, the last again and again; None is no answer at all."""

    daemon_threads = True

    def __init__(self, answers: list[int | None]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers, self.posted, self.ended = answers, [], threading.Event()


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.posted.append((self.path, self.headers["Content-Type"], body))
        answers = self.server.answers
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if answer is None:
            self.server.ended.wait(30)
            return
        self.send_response(answer)
        if 300 <= answer < 400:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        self.server.posted.append((self.path, "GET", None))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def server(monkeypatch: pytest.MonkeyPatch, *answers: int | None) -> Iterator[Server]:
    with Server(list(answers)) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        monkeypatch.setenv("ELBOFLOW_WEBHOOK", f"http://127.0.0.1:{running.server_port}{PATH}")
        yield running
        running.ended.set()
        running.shutdown()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(notifying, "_PAUSE", 0.01)
    monkeypatch.setattr(logging.getLogger("elboflow"), "propagate", True)
    caplog.set_level(logging.INFO)


def test_a_webhook_is_given_one_object(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    with server(monkeypatch, 200) as running:
        notify(FAILED, Webhook())
    told = {
        "run": "digits-1",
        "experiment": "digits",
        "status": "failed",
        "step": "train",
        "reason": "the loss is not a number",
        "link": "https://console.example/runs/1",
        "seconds": {},
        **dict.fromkeys(("target", "model", "version", "promoted", "recovered", "metrics")),
    }
    assert running.posted == [(PATH, "application/json", told)]
    assert caplog.messages == []


def test_a_server_that_stumbles_is_tried_again(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    with server(monkeypatch, 500, 503, 200) as running:
        notify(FAILED, Webhook())
    assert len(running.posted) == 3
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("answer", "tries", "words"),
    [
        (500, 3, "answered 500, 3 times"),
        (429, 3, "answered 429, 3 times"),
        (404, 1, "answered 404"),
        (301, 1, "answered 301"),  # followed, it would be a GET without the message
        (None, 3, "did not answer within 0 s, 3 times"),
    ],
)
def test_what_cannot_be_delivered_is_one_line_without_the_address(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    answer: int | None,
    tries: int,
    words: str,
):
    monkeypatch.setattr(notifying, "SECONDS_PER_TRY", 0.2)
    with server(monkeypatch, answer) as running:
        notify(FAILED, Webhook())
    assert [kind for _, kind, _ in running.posted] == ["application/json"] * tries
    # Of this logger alone: a thread that another test has left may log, too.
    assert [record.getMessage() for record in caplog.records if record.name == "elboflow.notify"] == [
        f"no notification was sent of how digits-1 ended: the webhook in ELBOFLOW_WEBHOOK {words}"
    ]


def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("http://127.0.0.1:{port}/S3CR3T", "cannot be reached: Connection refused, 3 times"),
        ("http://S3CR3T.invalid/", "cannot be reached: "),
        ("http://user:S3CR3T@127.0.0.1:{port}/", "ended: the webhook in MY_HOOK "),
        ("http://127.0.0.1:S3CR3T/", "ended: the webhook in MY_HOOK "),
        ("http://[S3CR3T/", "ended: the webhook in MY_HOOK has an address that cannot be used"),
        ("http://127.0.0.1/S3CR3T\x00 x", "ended: the webhook in MY_HOOK "),
        ("file:///S3CR3T", "what MY_HOOK holds does not begin with https:// or http://"),
        ("S3CR3T", "what MY_HOOK holds does not begin with https:// or http://"),
        ("", "the environment variable MY_HOOK holds no address"),
    ],
)
def test_no_address_however_wrong_is_raised_or_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, address: str, words: str
):
    monkeypatch.setattr("os.environ", {"MY_HOOK": address.format(port=closed_port())})
    notify(FAILED, Webhook(variable="MY_HOOK"))
    (line,) = caplog.messages
    assert words in line
    assert "S3CR3T" not in line


@pytest.mark.parametrize(
    ("when", "told"),
    [
        ("failure", ["failed", "cancelled"]),
        ("end", ["succeeded", "failed", "cancelled", "skipped"]),
        (["failure", "late", "hanging"], ["failed", "cancelled", "late", "hanging"]),
        ("missed", ["missed"]),
    ],
)
def test_it_tells_of_what_was_asked_for(monkeypatch: pytest.MonkeyPatch, when: str | list[str], told: list[str]):
    with server(monkeypatch, 200) as running:
        for status in ("succeeded", "failed", "cancelled", "skipped", "missed", "late", "hanging"):
            notify(replace(FAILED, status=status), Webhook.model_validate({"when": when}))
    assert [body["status"] for _, _, body in running.posted] == told


def test_a_success_is_told_as_a_recovery_or_a_promotion_where_it_is_one(monkeypatch: pytest.MonkeyPatch):
    success = replace(FAILED, status="succeeded")
    with server(monkeypatch, 200) as running:
        for when in (["recovered"], ["promoted"], ["failure", "recovered", "promoted"]):
            for ended in (success, replace(success, recovered=True), replace(success, promoted=True)):
                notify(ended, Webhook.model_validate({"when": when}))
    told = [(body["recovered"], body["promoted"]) for _, _, body in running.posted]
    assert told == [(True, None), (None, True), (True, None), (None, True)]


def test_a_command_runs_in_the_folder_that_is_named(tmp_path: Path):
    (tmp_path / "page.sh").write_text("#!/bin/sh\ncat > told.json\n", encoding="utf-8")
    (tmp_path / "page.sh").chmod(0o755)
    notify(FAILED, Command(command=("./page.sh",)), tmp_path)
    assert json.loads((tmp_path / "told.json").read_text(encoding="utf-8"))["run"] == "digits-1"


def test_a_message_holds_no_secret(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hunter2-S3CR3T")
    with server(monkeypatch, 200) as running:
        notify(replace(FAILED, reason="cannot use https://me:S3CR3T@mlflow.example with hunter2-S3CR3T"), Webhook())
    ((_, _, body),) = running.posted
    assert body["reason"] == "cannot use https://***@mlflow.example with ***"


def test_a_command_is_given_the_object_on_its_standard_input(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
):
    program = f"import sys; open({str(tmp_path / 'told')!r}, 'w').write(sys.stdin.read()); print('chatter')"
    notify(FAILED, Command(command=(sys.executable, "-c", program)))
    assert json.loads((tmp_path / "told").read_text(encoding="utf-8"))["step"] == "train"
    assert caplog.messages == []
    assert capfd.readouterr().out == ""  # standard output is for results


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("./no-such-program",), "the command ./no-such-program cannot be run: No such file or directory"),
        (("sh", "-c", "cat > /dev/null; echo mail is down >&2; exit 3"), "ended with exit code 3: mail is down"),
        (("sh", "-c", "exec 0<&-; exit 4"), "the command sh ended with exit code 4"),  # it reads nothing
    ],
)
def test_a_command_that_fails_is_one_line(caplog: pytest.LogCaptureFixture, command: tuple[str, ...], words: str):
    notify(FAILED, Command(command=command))
    (line,) = caplog.messages
    assert words in line


def test_a_command_that_hangs_is_ended_with_what_it_started(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(notifying, "SECONDS_OF_COMMAND", 0.5)
    script = f"(sleep 2; touch {tmp_path}/still-here) & wait"
    started = time.monotonic()
    notify(FAILED, Command(command=("sh", "-c", script)))
    assert time.monotonic() - started < 1.5
    (line,) = caplog.messages
    assert "the command sh took more than" in line
    time.sleep(2)
    assert list(tmp_path.iterdir()) == []
