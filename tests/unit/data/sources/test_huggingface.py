"""Tests of model downloads over HTTP from a hub on the loopback address."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import pytest
from local_hub import COMMIT, LocalHub

import blossomtune
from blossomtune.data.sources import huggingface, huggingface_datasets, retry
from blossomtune.errors import UserError
from blossomtune.files import read_json, to_canonical_json

SCRIPT = Path(blossomtune.__file__).parents[1] / "fetch_model.py"
API = "/api/models/owner/tiny"


@pytest.fixture
def hub_server(tiny_model, monkeypatch):
    files = {path.name: path.read_bytes() for path in tiny_model.iterdir()}
    files |= {"pytorch_model.bin": b"no", "original/model.safetensors": b"no"}
    hub = LocalHub("models", "owner/tiny", files)
    # the client reads HF_ENDPOINT at import; this is the same setting
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.url)
    yield hub
    hub.stop()


SOURCE = {"kind": "hub", "repo": "owner/tiny", "revision": "v1"}


def test_size_of_a_model_is_known_before_the_download(hub_server, tiny_model):
    sizes = [path.stat().st_size for path in tiny_model.iterdir()]
    assert huggingface.get_repository_size(SOURCE) == sum(sizes)  # without pytorch_model.bin
    hub_server.refusal = (404, "RepoNotFound")
    assert huggingface.get_repository_size(SOURCE) is None


def test_revision_is_resolved_and_only_safe_files_are_downloaded(hub_server, tiny_model, tmp_path):
    out = tmp_path / "out"
    command = [
        sys.executable,
        SCRIPT,
        "--config",
        to_canonical_json({"source": SOURCE}),
        "--output",
        out,
    ]
    environment = {"HF_ENDPOINT": hub_server.url, "HF_TOKEN": "hf_secret", "HF_HOME": str(tmp_path)}
    subprocess.run(command, check=True, timeout=60, env=os.environ | environment)
    provenance = read_json(out / "provenance.json")
    assert (provenance["revision"], provenance["licence"]) == (COMMIT, "apache-2.0")
    assert set(provenance["files"]) == {path.name for path in tiny_model.iterdir()}
    assert {path.name for path in out.iterdir()} == {*provenance["files"], "provenance.json"}
    paths = [path for path, _ in hub_server.requests]
    assert not any("pytorch_model" in path or "original" in path for path in paths)
    tokens = {token for path, token in hub_server.requests if path.startswith(API)}
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
def test_refused_request_is_explained(hub_server, tmp_path, refusal, message):
    hub_server.refusal = refusal
    with pytest.raises(UserError, match=message):
        huggingface.download_model(SOURCE, tmp_path)
    requests = [path for path, _ in hub_server.requests if path.startswith(API)]
    assert len(requests) == (retry.MAX_ATTEMPTS if refusal[0] == 503 else 1)


@pytest.mark.parametrize("fetch", [huggingface.download_model, huggingface_datasets.load_split])
def test_unreachable_hub_is_reported_in_one_sentence(monkeypatch, tmp_path, fetch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", url)  # as above
    with pytest.raises(UserError) as error:
        fetch({**SOURCE, "subset": None, "split": "train", "rows": None}, tmp_path)
    assert str(error.value) == (
        "owner/tiny cannot be fetched: the Hugging Face hub cannot be reached "
        "(ConnectError, 3 attempts)\n"
        "  hint: check the network and HF_ENDPOINT; kind: path takes a folder that is already here"
    )


def test_offline_mode_is_reported(monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)  # read at import
    with pytest.raises(UserError, match="owner/tiny is on the hub, but HF_HUB_OFFLINE is set"):
        huggingface.download_model(SOURCE, tmp_path)
