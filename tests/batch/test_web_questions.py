"""A question to a web interface has its token on stdin alone, from where the user has it by now."""

from __future__ import annotations

import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar

import pytest

from vrecompute.batch.parts import ASK_AND_TELL, read_parts
from vrecompute.batch.web_questions import GET, Token
from vrecompute.errors import SiteError, Unavailable

TOKEN = Token("the web interface", "X-QQ-TOKEN", "QQ_TOKEN", "write `qq token` to a file, or set QQ_TOKEN")


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch, tmp_path):
    monkeypatch.delenv("QQ_TOKEN", raising=False)
    monkeypatch.setenv("TOKENS", str(tmp_path))


def of_file(tmp_path, text):
    (tmp_path / "token").write_text(text)
    return Token(TOKEN.whom, TOKEN.name, TOKEN.variable, TOKEN.advice, "$TOKENS/token")


def test_a_token_of_a_file_comes_before_that_of_the_environment_and_is_read_anew(monkeypatch, tmp_path):
    monkeypatch.setenv("QQ_TOKEN", "old.1")
    assert TOKEN.header() == 'header = "X-QQ-TOKEN: old.1"'
    token = of_file(tmp_path, "QQ_TOKEN=new.1\n")
    assert token.header() == 'header = "X-QQ-TOKEN: new.1"'
    (tmp_path / "token").write_text("new.2")
    assert token.header() == 'header = "X-QQ-TOKEN: new.2"'


@pytest.mark.parametrize("text", ["", "two words", 'a"\nurl = "http://elsewhere"'])
def test_what_is_no_token_is_refused_and_never_shown(tmp_path, text):
    with pytest.raises(SiteError) as error:
        of_file(tmp_path, text).header()
    assert str(error.value) == "no token for the web interface: write `qq token` to a file, or set QQ_TOKEN"


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    token = of_file(tmp_path, "a")
    (tmp_path / "token").unlink()
    with pytest.raises(Unavailable, match=r"no token for the web interface: \$TOKENS/token: No such file or directory"):
        token.header()


class Answers(BaseHTTPRequestHandler):
    """An interface that answers about jobs alone, and remembers what it was asked."""

    asked: ClassVar[list[tuple[str, str]]] = []

    def do_GET(self):
        self.asked.append((self.path, self.headers["X-QQ-TOKEN"]))
        self.send_response(200 if self.path == "/jobs" else 403)
        self.end_headers()
        self.wfile.write(b"7 RUN")

    def log_message(self, *said):
        """Nothing."""


def test_the_token_reaches_the_interface_and_no_argument(monkeypatch, tmp_path):
    monkeypatch.setenv("QQ_TOKEN", "s3cr3t")
    curl = tmp_path / "curl"
    curl.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/arguments\nexec {shutil.which("curl")} "$@"\n')
    curl.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        at = f"http://127.0.0.1:{server.server_port}"
        script = f'{ASK_AND_TELL}{GET}tell jobs get "$1/jobs"; tell others get "$1/others"'
        command = ["sh", "-c", script, "sh", at]
        done = subprocess.run(command, input=TOKEN.header(), capture_output=True, text=True, check=True)
        server.shutdown()
    assert Answers.asked == [("/jobs", "s3cr3t"), ("/others", "s3cr3t")]
    parts = read_parts(done.stdout.splitlines())
    assert (parts["jobs"].code, parts["jobs"].text) == (0, "7 RUN")
    assert "error: 403" in parts["others"].problem
    arguments = (tmp_path / "arguments").read_text()
    assert arguments.count("--config -") == 2
    assert "s3cr3t" not in arguments
