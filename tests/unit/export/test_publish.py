"""Tests of pushes over HTTP to a hub on the loopback address."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import pytest
from push_hub import PushHub

import blossomtune
from blossomtune.artifacts.checksums import write_checksums
from blossomtune.errors import UserError
from blossomtune.export.publish import collect_upload, push

SCRIPT = Path(blossomtune.__file__).parents[1] / "publish.py"
SETTINGS = {"repo": "me/m", "revision": "main", "private": True}
CARD = "---\nlibrary_name: peft\n---\n# Card\n"


@pytest.fixture
def hub(monkeypatch):
    hub = PushHub("me/m")
    # the client reads these variables at import; these are the same settings
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    yield hub
    hub.stop()


@pytest.fixture
def folder(tmp_path):
    """Write a folder with an old card, which the new one replaces."""
    (tmp_path / "adapter_model.safetensors").write_bytes(bytes(range(256)) * 40)
    (tmp_path / "adapter_config.json").write_text("{}")
    (tmp_path / "README.md").write_text("old")
    return tmp_path


def upload(folder, card=CARD, **settings):
    return collect_upload(SETTINGS | settings, folder, card)


def test_hub_has_the_same_bytes_and_gets_each_content_once(hub, folder):
    address = push(upload(folder))
    assert address.startswith(hub.url)
    assert hub.files["main"] == {
        "README.md": CARD.encode(),
        "adapter_config.json": b"{}",
        "adapter_model.safetensors": (folder / "adapter_model.safetensors").read_bytes(),
    }
    assert (hub.private, hub.commits) == (True, 1)
    assert "Bearer hf_secret" in hub.tokens
    assert push(upload(folder)) is None
    assert hub.commits == 1
    assert push(upload(folder, CARD + "more\n"))
    assert hub.files["main"]["README.md"].endswith(b"more\n")
    assert hub.commits == 2


def test_branch_and_public_repository_are_created(hub, folder):
    push(upload(folder, revision="v2", private=False))
    assert hub.private is False
    assert set(hub.files["v2"]) > set(hub.files["main"]) == set()


def test_public_repository_is_refused_where_a_private_one_is_asked_for(hub, folder):
    hub.private = False
    with pytest.raises(UserError, match="me/m is public, and private: true is asked for"):
        push(upload(folder))
    assert hub.commits == 0


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (401, r"does not accept the token in HF_TOKEN\n  hint: it may have expired"),
        (403, r"may not write to me/m\n  hint: publish.repo: is the owner right"),
        (400, "the hub refuses the upload to me/m"),
    ],
)
def test_refusals_have_a_hint(hub, folder, status, message):
    hub.refusal = status
    with pytest.raises(UserError, match=message):
        push(upload(folder))


def test_missing_token_is_an_error_before_any_request(hub, folder, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(UserError, match="HF_TOKEN is not set"):
        push(upload(folder))
    assert not hub.tokens


def test_description_has_repository_visibility_files_and_sizes(folder):
    assert upload(folder).describe() == (
        "me/m, branch main, private: 3 files\n"
        f"  README.md: {len(CARD)} bytes\n"
        "  adapter_config.json: 2 bytes\n"
        "  adapter_model.safetensors: 10240 bytes\n"
        "0.0 MB in all"
    )


def test_script_prints_and_pushes_the_adapter_of_each_experiment(
    hub, model_dir, adapter_dir, inputs, merge_config, tmp_path
):
    names = [merge_config[key] for key in ("partition", "preprocessing", "model")]
    places = {
        model_dir: ["models", merge_config["model"]],
        adapter_dir: ["experiments", "trial", "adapter"],
        inputs["preprocessed"]: ["preprocessed", *names],
        inputs["dataset"]: ["datasets", "words"],
    }
    results = tmp_path / "results"
    for source, parts in places.items():
        target = results.joinpath(*parts)
        shutil.copytree(source, target)
        write_checksums(target, "test")
    shutil.copyfile(inputs["history"], results / "experiments/trial/history.json")
    settings = {"publish": SETTINGS | {"what": "adapter"}, "dataset": "words", "card": merge_config}
    command = [sys.executable, SCRIPT, "--config", json.dumps({"trial": settings})]
    command += ["--results", str(results)]
    environment = os.environ | {"HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1"}
    for options, end in (
        (["--dry-run"], "MB in all"),
        ([], "1"),
        ([], "published already: no file has changed"),
    ):
        done = subprocess.run(
            [*command, *options], env=environment, capture_output=True, text=True, check=True
        )
        assert done.stdout.startswith("me/m, branch main, private: 3 files\n")
        assert done.stdout.rstrip().endswith(end)
        assert hub.commits == (0 if options else 1)
    assert b"library_name: peft" in hub.files["main"]["README.md"]
