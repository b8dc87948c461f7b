"""Results of a small run, as the stages before training write them."""

import shutil

import pytest

NUM_ROWS = {"client_0": 6, "client_1": 9, "test": 8}


@pytest.fixture
def results(tiny_model, tmp_path):
    """Return a folder of results with a model, a partition and tokenized rows of two clients."""
    from artifact_samples import (
        client_token_counts,
        partition_manifest,
        provenance,
        token_counts,
        tokenized_manifest,
    )
    from datasets import Dataset

    from blossomtune.artifacts.files import write_artifact

    model = shutil.copytree(tiny_model, tmp_path / "models/tiny")
    write_artifact(model / "provenance.json", provenance(parameters=30_000))
    (tmp_path / "datasets/texts").mkdir(parents=True)
    (tmp_path / "partitions/two").mkdir(parents=True)
    write_artifact(tmp_path / "partitions/two/manifest.json", partition_manifest(["a", "b"]))
    folder = tmp_path / "preprocessed/two/plain/tiny"
    folder.mkdir(parents=True)
    for name, count in NUM_ROWS.items():
        lengths = range(20, 20 + count)
        rows = [{"input_ids": [7] * n, "labels": [-100] * (n - 4) + [8] * 4} for n in lengths]
        Dataset.from_list(rows).save_to_disk(folder / "saved" / name)
        [file] = (folder / "saved" / name).glob("*.arrow")
        file.rename(folder / f"{name}.arrow")
    shutil.rmtree(folder / "saved")
    clients = [client_token_counts(i, NUM_ROWS[f"client_{i}"], tokens=100) for i in range(2)]
    manifest = tokenized_manifest(clients, test=token_counts(NUM_ROWS["test"]))
    write_artifact(folder / "manifest.json", manifest)
    return tmp_path


@pytest.fixture
def build_config():
    """Return a function that builds the configuration of a plan with one experiment, ``x``."""

    def build(arguments=None, baselines=None, benchmarks=(), gguf=(), **federation):
        from local_grid import build_experiment

        from blossomtune.config.configuration import Configuration
        from blossomtune.config.stage_inputs import plan

        experiment = build_experiment(arguments=arguments, **federation)
        settings = experiment.model_dump(mode="json", exclude_defaults=True)
        settings |= {"model": "tiny", "partition": "two", "preprocessing": "plain"}
        settings["baselines"] = baselines or {}
        settings.setdefault("evaluation", {})["benchmarks"] = list(benchmarks)
        if gguf:
            settings["export"] = {"gguf": list(gguf)}
        configuration = Configuration.model_validate(
            {
                "run": ["x"],
                "models": {"tiny": {"source": {"kind": "path", "path": "tiny"}}},
                "datasets": {"texts": {"source": {"kind": "path", "path": "texts"}}},
                "partitions": {
                    "two": {"dataset": "texts", "partitioner": "iid", "num_partitions": 2}
                },
                "preprocessing": {"plain": {"text": "{{ text }}"}},
                "experiments": {"x": settings},
            }
        )
        return plan(configuration)

    return build
