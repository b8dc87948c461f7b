"""Tests of downloads over HTTP from a package index on the loopback address."""

import hashlib
import io
import socket
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from blossomtune.data.sources import pypi, retry
from blossomtune.errors import UserError

METADATA = b"Metadata-Version: 2.1\nName: pets\nVersion: 1.2\nLicense: MIT\n"


def build_wheel() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("pets/cats.txt", "mew")
        archive.writestr("pets-1.2.dist-info/METADATA", METADATA)
    return content.getvalue()


class LocalIndex:
    """A package index with one wheel.

    Attributes:
        sent: bytes that are sent as the wheel.
        published: bytes that the published checksum belongs to.
        length: Content-Length of the wheel; None for the true one.
        failures: number of requests that are answered with status 503 first.
        requests: the requested paths.
    """

    def __init__(self) -> None:
        self.sent = self.published = build_wheel()
        self.length: int | None = None
        self.failures = 0
        self.requests: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.requests.append(self.path)
                if outer.failures:
                    outer.failures -= 1
                    return self.answer(503, b"")
                pages = {
                    "/simple/pets/": outer.build_page(),
                    "/pets-1.2-py3-none-any.whl": outer.sent,
                }
                if self.path not in pages:
                    return self.answer(404, b"")
                return self.answer(200, pages[self.path])

            do_HEAD = do_GET  # noqa: N815

            def answer(self, status, body):
                is_wheel = self.path.endswith(".whl")
                self.send_response(status)
                self.send_header("Content-Type", "application/zip" if is_wheel else "text/html")
                length = outer.length if is_wheel and outer.length else len(body)
                self.send_header("Content-Length", str(length))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/simple/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def build_page(self) -> bytes:
        digest = hashlib.sha256(self.published).hexdigest()
        file = "pets-1.2-py3-none-any.whl"
        return f'<a href="/{file}#sha256={digest}">{file}</a>'.encode()


@pytest.fixture
def index(monkeypatch):
    server = LocalIndex()
    monkeypatch.setenv("PIP_INDEX_URL", server.url)
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    yield server
    server.server.shutdown()
    server.server.server_close()


def make_source(**changes):
    return {
        "package": "pets",
        "version": "1.2",
        "distribution": "wheel",
        "sha256": None,
        **changes,
    }


def find_closed_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return unused.getsockname()[1]


def test_archive_is_downloaded_and_its_licence_read(index, tmp_path):
    archive = pypi.download_archive(make_source(), tmp_path)
    assert archive.read_bytes() == index.published
    assert pypi.read_licence(archive) == "MIT"


def test_size_of_an_archive_is_known_before_the_download(index):
    assert pypi.get_archive_size(make_source()) == len(index.published)
    assert pypi.get_archive_size(make_source(version="3")) is None


def test_unavailable_index_is_retried(index, tmp_path):
    index.failures = 2
    pypi.download_archive(make_source(), tmp_path)
    assert index.requests[:3] == ["/simple/pets/"] * 3


def test_checksum_of_the_source_is_verified(index, tmp_path):
    expected, received = "0" * 64, hashlib.sha256(index.sent).hexdigest()
    with pytest.raises(UserError) as error:
        pypi.download_archive(make_source(sha256=expected), tmp_path)
    assert f"by source.sha256 {expected}, downloaded {received}" in str(error.value)
    assert "hint: run again if the download was cut short" in str(error.value)
    assert not list(tmp_path.iterdir())


def test_checksum_of_the_index_is_verified(index, tmp_path):
    index.sent = index.published[:-20]
    with pytest.raises(UserError) as error:
        pypi.download_archive(make_source(), tmp_path)
    published = hashlib.sha256(index.published).hexdigest()
    received = hashlib.sha256(index.sent).hexdigest()
    assert "pets-1.2-py3-none-any.whl: wrong checksum" in str(error.value)
    assert f"by the index {published}, downloaded {received}" in str(error.value)


def test_interrupted_download_is_retried_three_times(index, tmp_path):
    index.length = len(index.sent) + 100
    with pytest.raises(UserError, match=r"cannot be reached \(\w+, 3 attempts\)"):
        pypi.download_archive(make_source(), tmp_path)
    assert index.requests.count("/pets-1.2-py3-none-any.whl") == retry.MAX_ATTEMPTS
    assert not list(tmp_path.iterdir())


def test_unreachable_index_is_reported_without_password(monkeypatch, tmp_path):
    url = f"http://name:secret@127.0.0.1:{find_closed_port()}/simple/"
    monkeypatch.setenv("PIP_INDEX_URL", url)
    with pytest.raises(UserError) as error:
        pypi.download_archive(make_source(), tmp_path)
    assert str(error.value) == (
        "pets 1.2 cannot be fetched: the package index 127.0.0.1 cannot be reached "
        "(ConnectionError, 3 attempts)\n"
        "  hint: check the network and `pip config list`; PIP_INDEX_URL names another index"
    )


def test_unknown_package_is_reported(index, tmp_path):
    with pytest.raises(UserError, match=r"127\.0\.0\.1 has no package 'petz'"):
        pypi.download_archive(make_source(package="petz"), tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"version": "1.3"},
            r"no wheel of pets 1.3; did you mean 1.2\? versions with a wheel: 1.2",
        ),
        ({"distribution": "sdist"}, "no sdist of pets 1.2; versions with a sdist: none"),
    ],
)
def test_unknown_version_lists_available_versions(index, tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        pypi.download_archive(make_source(**changes), tmp_path)


def test_extra_index_is_used_if_the_first_has_no_archive(index, monkeypatch, tmp_path):
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", index.url)
    monkeypatch.setenv("PIP_INDEX_URL", index.url.replace("simple", "empty"))
    assert pypi.download_archive(make_source(), tmp_path).is_file()
