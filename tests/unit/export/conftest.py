"""Fixtures of the export tests."""

import shutil

import pytest
from artifact_samples import (
    client_token_counts,
    dataset_manifest,
    federation_history,
    provenance,
    round_record,
    server_evaluation,
    tokenized_manifest,
)

from blossomtune.artifacts.checksums import write_checksums
from blossomtune.artifacts.files import write_artifact


@pytest.fixture
def adapter_dir(tiny_model, tmp_path):
    """Write an adapter that changes every completion."""
    from random_adapter import add_random_adapter

    from blossomtune.modeling.load import load_model

    model = add_random_adapter(load_model(tiny_model))
    model.peft_config["default"].base_model_name_or_path = "tiny"
    model.save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
    write_checksums(tmp_path / "adapter", "federate")
    return tmp_path / "adapter"


@pytest.fixture
def model_dir(tiny_model, tmp_path):
    """Write a base model with its provenance."""
    shutil.copytree(tiny_model, tmp_path / "base")
    source = {"kind": "hub", "repo": "someone/tiny", "revision": "main"}
    origin = provenance(source=source, revision="c0ffee", licence="Apache-2.0")
    write_artifact(tmp_path / "base/provenance.json", origin)
    write_checksums(tmp_path / "base", "fetch_model")
    return tmp_path / "base"


@pytest.fixture
def inputs(held_out_files, tmp_path):
    """Write earlier stages' results; return ``preprocessed``, ``dataset`` and ``history``."""
    preprocessed, dataset = held_out_files(["good", "bad"], ["yes", "no"])
    clients = [client_token_counts(0, 30), client_token_counts(1, 12)]
    write_artifact(preprocessed / "manifest.json", tokenized_manifest(clients))
    source = {"kind": "path", "path": "/secret/place", "files": "**"}
    rows = {
        "read": 44,
        "skipped": 0,
        "filtered": 0,
        "duplicates": 0,
        "limited": 0,
        "train": 42,
        "test": 2,
    }
    write_artifact(dataset / "manifest.json", dataset_manifest(source=source, rows=rows))
    write_checksums(preprocessed, "preprocess")
    write_checksums(dataset, "download")
    evaluations = [server_evaluation(3.5), None, server_evaluation(0.25)]
    history = federation_history(
        clients=["tweets", "films"],
        ranks=[4, 4],
        precision="int8",
        result_round=2,
        rounds=[round_record(i, evaluation=e) for i, e in enumerate(evaluations)],
    )
    write_artifact(tmp_path / "history.json", history)
    return {
        "preprocessed": preprocessed,
        "dataset": dataset,
        "history": tmp_path / "history.json",
    }


@pytest.fixture
def merge_config():
    """Return the configuration of the stage ``merge``."""
    return {
        "experiment": "trial",
        "model": "tiny",
        "partition": "by-domain",
        "preprocessing": "sentiment",
        "strategy": "fedavg",
        "aggregation": "flora",
        "digest": "d" * 64,
    }
