import pytest
from artifact_samples import (
    client_token_counts,
    partition_manifest,
    provenance,
    tokenized_manifest,
)

from blossomtune.artifacts.files import write_artifact
from blossomtune.errors import UserError
from blossomtune.federation.build_spec import build_spec
from blossomtune.federation.spec import ClientSpec


@pytest.fixture
def build(tmp_path):
    """Return a function that builds the specification of two clients with 12 and 20 rows."""
    model, partition, preprocessed = (tmp_path / name for name in ("tiny", "rows", "tokens"))
    manifest = tokenized_manifest([client_token_counts(0, 12), client_token_counts(1, 20)])
    for folder in (model, partition, preprocessed):
        folder.mkdir()
    write_artifact(model / "provenance.json", provenance())
    write_artifact(partition / "manifest.json", partition_manifest(["ward", "clinic"]))
    write_artifact(preprocessed / "manifest.json", manifest)

    def build(training=None, lora=None):
        config = {"seed": 7, "lora": lora or {}, "training": training or {}, "federation": {}}
        return build_spec(config, model, partition, preprocessed)

    return build


def test_names_rows_and_ranks_come_from_manifests_and_configuration(build):
    spec = build(lora={"r": 4, "ranks": [2, 4]})
    assert spec.clients == (
        ClientSpec(name="ward", num_rows=12, rank=2, num_examples=12),
        ClientSpec(name="clinic", num_rows=20, rank=4, num_examples=20),
    )
    assert (spec.seed, spec.base_model_name) == (7, "tiny")


def test_adopt_with_one_step_per_round_is_rejected(build):
    one_step = {"optim": "adopt", "per_device_train_batch_size": 12, "num_train_epochs": 1}
    with pytest.raises(UserError, match=r"client 0 \(ward\) takes one step in a round, with 12"):
        build({"arguments": one_step})
    build({"arguments": one_step, "optimizer_state": "kept"})
    build({"arguments": one_step | {"num_train_epochs": 2}})
