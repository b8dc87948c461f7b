"""Fixtures of the deployment tests."""

import pytest


@pytest.fixture
def two_gpus(monkeypatch):
    """Make two GPUs visible to this process; the machine need not have any."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,GPU-a0")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)


@pytest.fixture
def link():
    """Return the state of a SuperLink with a run and two nodes that are online."""
    from superlink_state import Link

    from blossomtune.deployment.flower_internal import set_task_identity

    link = Link()
    set_task_identity(1, link.run, 1)
    return link


@pytest.fixture(scope="session")
def external_files(tiny_model, tmp_path_factory):
    """Return a folder with the server's model and data set, and each client's rows and files."""
    from external_clients import CLIENTS, build_config

    from blossomtune.config import stage_inputs
    from blossomtune.data.fetch_model import fetch_model
    from blossomtune.data.preparation.build_dataset import build_dataset
    from blossomtune.deployment.client_bundle import write_client_bundles

    home = tmp_path_factory.mktemp("external")
    for name, texts in {"test": ["so"], **CLIENTS}.items():
        lines = ["word,answer", *(f"{text},yes" for text in texts)]
        (home / f"{name}.csv").write_text("\n".join(lines) + "\n")
    config = build_config(tiny_model, home / "keys", {"clients": list(CLIENTS)})
    for folder in ("tiny", "words"):
        (home / folder).mkdir()
    fetch_model(stage_inputs.fetch_model(config, "tiny"), home / "tiny")
    build_dataset(stage_inputs.download(config, "words"), home / "words")
    write_client_bundles(stage_inputs.invite(config, "x"), home / "tiny", home / "words", "x")
    return home
