"""Tests of downloads over HTTP from a server on the loopback address."""

import gzip
import hashlib
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from blossomtune.data.sources import retry, url
from blossomtune.errors import UserError

CONTENT = b'{"text": "a"}\n' * 1000


class LocalServer:
    """A server that sends `CONTENT` below /files/.

    Attributes:
        failures: number of requests that are answered with status 503 first.
        length: Content-Length that is sent.
        requests: the requested paths.
    """

    def __init__(self) -> None:
        self.failures = 0
        self.length = len(CONTENT)
        self.requests: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.requests.append(self.path)
                if outer.failures:
                    outer.failures -= 1
                    return self.answer(503, b"")
                if self.path.startswith("/private"):
                    return self.answer(403, b"")
                if self.path.startswith("/moved/"):
                    return self.answer(302, b"", Location="/files/a.jsonl?signature=secret")
                if self.path.startswith("/compressed/"):
                    return self.answer(200, gzip.compress(CONTENT), **{"Content-Encoding": "gzip"})
                if self.path.startswith("/files/"):
                    return self.answer(200, CONTENT, **{"Content-Length": str(outer.length)})
                return self.answer(404, b"")

            do_HEAD = do_GET  # noqa: N815

            def answer(self, status, body, **headers):
                self.send_response(status)
                for key, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(key, value)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()


@pytest.fixture
def server():
    local = LocalServer()
    yield local
    local.server.shutdown()
    local.server.server_close()


def make_source(address, content=CONTENT):
    digest = hashlib.sha256(content).hexdigest()
    return {"kind": "url", "url": address, "sha256": digest, "files": "**"}


def test_size_of_a_file_is_known_before_the_download(server):
    assert url.get_file_size(make_source(server.url + "/moved/a.jsonl")) == len(CONTENT)
    assert url.get_file_size(make_source(server.url + "/private/a.jsonl")) is None


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/files/a.jsonl", "a.jsonl"),
        ("/files/b%20c.jsonl?download=true", "b c.jsonl"),
        ("/files/..%2F..%2Fd.jsonl", "d.jsonl"),
        ("/files/%2E%2E", "download"),
        ("/moved/e.jsonl", "e.jsonl"),
    ],
)
def test_file_is_named_as_in_the_url(server, tmp_path, path, name):
    file = url.download_file(make_source(server.url + path), tmp_path)
    assert (file.name, file.read_bytes()) == (name, CONTENT)
    assert file.parent.parent == tmp_path


def test_compressed_response_is_stored_as_sent(server, tmp_path):
    compressed = gzip.compress(CONTENT)
    file = url.download_file(make_source(f"{server.url}/compressed/a.jsonl", compressed), tmp_path)
    assert file.read_bytes() == compressed


def test_unavailable_server_is_retried(server, tmp_path):
    server.failures = retry.MAX_ATTEMPTS - 1
    assert url.download_file(make_source(f"{server.url}/files/a"), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("change", "path", "message", "attempts"),
    [
        ({}, "/nothing?token=secret", "/nothing cannot be fetched: HTTP status 404", 1),
        ({}, "/private?token=secret", "/private cannot be fetched: HTTP status 403", 1),
        ({"failures": 9}, "/files/a?token=secret", "cannot be reached (HTTP status 503, 3 at", 3),
        ({"length": 10**6}, "/files/a?token=secret", "cannot be reached (ProtocolError, 3 at", 3),
    ],
)
def test_failed_download_is_explained_without_secrets(
    server, tmp_path, capsys, change, path, message, attempts
):
    vars(server).update(change)
    with pytest.raises(UserError) as error:
        url.download_file(make_source(server.url + path), tmp_path)
    assert message in str(error.value)
    assert "secret" not in str(error.value) + capsys.readouterr().out
    assert len(server.requests) == attempts


def test_wrong_checksum_is_rejected(server, tmp_path):
    source = make_source(f"{server.url}/files/a.jsonl?token=secret", b"something else")
    with pytest.raises(UserError) as error:
        url.download_file(source, tmp_path)
    assert str(error.value).startswith(
        f"a.jsonl: wrong checksum; sha256 by source.sha256 {source['sha256']}, downloaded "
        f"{hashlib.sha256(CONTENT).hexdigest()}"
    )
    assert len(server.requests) == 1


def test_unreachable_server_is_reported_in_one_sentence(tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}/a.csv"
    with pytest.raises(UserError) as error:
        url.download_file(make_source(f"{address}?token=secret"), tmp_path)
    assert str(error.value) == (
        f"{address} cannot be fetched: 127.0.0.1 cannot be reached (ConnectionError, 3 attempts)\n"
        "  hint: check source.url and the network"
    )
