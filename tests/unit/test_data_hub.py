"""The hub's answers, over real HTTP, from a small hub on the loopback address."""

import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import huggingface_hub
import pytest

from blossomtune.data import hub, network
from blossomtune.errors import UserError
from blossomtune.files import canonical, read_json

STEP = Path(__file__).parents[2] / "workflow_scripts" / "fetch_model.py"
API = "/api/models/owner/tiny"
COMMIT = "c0ffee" * 6 + "c0ff"


class Hub:
    """Serves a folder as owner/tiny; `refusal` is a status and the hub's code for the reason."""

    def __init__(self, folder) -> None:
        self.refusal: tuple[int, str] | None = None
        self.requests: list[tuple[str, str | None]] = []
        outer = self
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
        files |= {"pytorch_model.bin": b"no", "original/model.safetensors": b"no"}

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                path = unquote(self.path.partition("?")[0])
                outer.requests.append((path, self.headers.get("Authorization")))
                name = path.partition(f"/owner/tiny/resolve/{COMMIT}/")[2]
                if outer.refusal:
                    self.answer(outer.refusal[0], b"", **{"X-Error-Code": outer.refusal[1]})
                elif path in (f"{API}/revision/v1", f"{API}/revision/{COMMIT}"):
                    self.answer(200, outer.info(files), **{"Content-Type": "application/json"})
                elif path == f"{API}/tree/{COMMIT}":
                    self.answer(200, outer.tree(files), **{"Content-Type": "application/json"})
                elif name in files:
                    etag = hashlib.sha1(files[name]).hexdigest()
                    self.answer(200, files[name], **{"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT})
                else:
                    self.answer(404, b"", **{"X-Error-Code": "RevisionNotFound"})

            do_HEAD = do_GET  # noqa: N815

            def answer(self, status, body, **headers):
                self.send_response(status)
                for key, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(key, value)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def info(self, files) -> bytes:
        siblings = [{"rfilename": name} for name in files]
        card = {"license": "apache-2.0"}
        answer = {"id": "owner/tiny", "sha": COMMIT, "siblings": siblings, "cardData": card}
        return json.dumps(answer).encode()

    def tree(self, files) -> bytes:
        return json.dumps(
            [
                {"type": "file", "path": n, "size": len(c), "oid": hashlib.sha1(c).hexdigest()}
                for n, c in files.items()
            ]
        ).encode()


@pytest.fixture
def server(tiny_model, monkeypatch):
    started = Hub(tiny_model)
    # HF_ENDPOINT is read when the client is imported; this is the same setting, later
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", started.url)
    monkeypatch.setattr(network, "WAIT", 0.01)  # as many attempts, less patience
    yield started
    started.server.shutdown()
    started.server.server_close()


SOURCE = {"kind": "hub", "repo": "owner/tiny", "revision": "v1"}


def test_a_revision_becomes_a_commit_and_only_safe_files_come(server, tiny_model, tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, STEP, "--config", canonical({"source": SOURCE}), "--output", out]
    of_hub = {"HF_ENDPOINT": server.url, "HF_TOKEN": "hf_secret", "HF_HOME": str(tmp_path)}
    subprocess.run(command, check=True, timeout=60, env=os.environ | of_hub)
    provenance = read_json(out / "provenance.json")
    assert (provenance["revision"], provenance["licence"]) == (COMMIT, "apache-2.0")
    assert set(provenance["files"]) == {path.name for path in tiny_model.iterdir()}
    assert {path.name for path in out.iterdir()} == {*provenance["files"], "provenance.json"}
    fetched = [path for path, _ in server.requests]
    assert not any("pytorch_model" in path or "original" in path for path in fetched)
    tokens = {token for path, token in server.requests if path.startswith(API)}
    assert tokens == {"Bearer hf_secret"}
    assert "hf_secret" not in (out / "provenance.json").read_text()


@pytest.mark.parametrize(
    ("refusal", "message"),
    [
        ((403, "GatedRepo"), r"owner/tiny is gated(.|\n)*accept its terms at (.|\n)*HF_TOKEN"),
        ((404, "RevisionNotFound"), r"source\.revision: owner/tiny has no revision 'v1'"),
        ((404, "RepoNotFound"), r"source\.repo: the hub shows no 'owner/tiny'(.|\n)*HF_TOKEN"),
        ((503, ""), r"cannot be reached \(HTTP status 503, 3 attempts\)"),
    ],
)
def test_what_the_hub_refuses(server, tmp_path, refusal, message):
    server.refusal = refusal
    with pytest.raises(UserError, match=message):
        hub.model(SOURCE, tmp_path)
    asked = [path for path, _ in server.requests if path.startswith(API)]
    assert len(asked) == (network.ATTEMPTS if refusal[0] == 503 else 1)


@pytest.mark.parametrize("fetch", [hub.model, hub.dataset])
def test_an_unreachable_hub_in_one_sentence(monkeypatch, tmp_path, fetch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", url)
    monkeypatch.setattr(network, "WAIT", 0.01)
    with pytest.raises(UserError) as error:
        fetch({**SOURCE, "subset": None, "split": "train"}, tmp_path)
    assert str(error.value) == (
        "owner/tiny cannot be fetched: the Hugging Face hub cannot be reached "
        "(ConnectError, 3 attempts)\n"
        "  hint: check the network and HF_ENDPOINT; kind: path takes a folder that is already here"
    )


def test_offline_mode_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="owner/tiny is on the hub, but HF_HUB_OFFLINE is set"):
        hub.model(SOURCE, tmp_path)
