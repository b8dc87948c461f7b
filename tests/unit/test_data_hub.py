"""The hub's answers about models, over real HTTP, from a small hub on the loopback address."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import pytest
from local_hub import COMMIT, LocalHub

from blossomtune.data.sources import huggingface, huggingface_datasets, retry
from blossomtune.errors import UserError
from blossomtune.files import read_json, to_canonical_json

STEP = Path(__file__).parents[2] / "workflow_scripts" / "fetch_model.py"
API = "/api/models/owner/tiny"


@pytest.fixture
def server(tiny_model, monkeypatch):
    files = {path.name: path.read_bytes() for path in tiny_model.iterdir()}
    files |= {"pytorch_model.bin": b"no", "original/model.safetensors": b"no"}
    started = LocalHub("models", "owner/tiny", files)
    # HF_ENDPOINT is read when the client is imported; this is the same setting, later
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", started.url)
    monkeypatch.setattr(retry, "INITIAL_DELAY", 0.01)  # as many attempts, less patience
    yield started
    started.stop()


SOURCE = {"kind": "hub", "repo": "owner/tiny", "revision": "v1"}


def test_a_revision_becomes_a_commit_and_only_safe_files_come(server, tiny_model, tmp_path):
    out = tmp_path / "out"
    command = [
        sys.executable,
        STEP,
        "--config",
        to_canonical_json({"source": SOURCE}),
        "--output",
        out,
    ]
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
        huggingface.download_model(SOURCE, tmp_path)
    asked = [path for path, _ in server.requests if path.startswith(API)]
    assert len(asked) == (retry.MAX_ATTEMPTS if refusal[0] == 503 else 1)


@pytest.mark.parametrize("fetch", [huggingface.download_model, huggingface_datasets.load_split])
def test_an_unreachable_hub_in_one_sentence(monkeypatch, tmp_path, fetch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", url)  # HF_ENDPOINT, as above
    monkeypatch.setattr(retry, "INITIAL_DELAY", 0.01)  # as many attempts, less patience
    with pytest.raises(UserError) as error:
        fetch({**SOURCE, "subset": None, "split": "train", "rows": None}, tmp_path)
    assert str(error.value) == (
        "owner/tiny cannot be fetched: the Hugging Face hub cannot be reached "
        "(ConnectError, 3 attempts)\n"
        "  hint: check the network and HF_ENDPOINT; kind: path takes a folder that is already here"
    )


def test_offline_mode_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)  # as HF_ENDPOINT
    with pytest.raises(UserError, match="owner/tiny is on the hub, but HF_HUB_OFFLINE is set"):
        huggingface.download_model(SOURCE, tmp_path)
