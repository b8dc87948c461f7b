"""A finished run of a tiny model."""

import shutil

import pytest
import yaml
from artifact_samples import chat_template_use, tokenized_manifest

from blossomtune.artifacts.checksums import write_checksums
from blossomtune.artifacts.files import write_artifact
from blossomtune.artifacts.tokenized_manifest import RowFormat
from blossomtune.config.load import load_configuration

PROMPT, SYSTEM = "Is this good?\n\n{{ text }}", "Answer briefly."


def build_config(model, **experiments):
    source = {"kind": "path", "path": str(model)}
    blocks = {"model": "tiny", "partition": "halves", "preprocessing": "short"}
    settings = {"system": SYSTEM, "prompt": PROMPT, "completion": "{{ label }}"}
    return {
        "run": ["first"],
        "models": {"tiny": {"source": source}},
        "datasets": {"words": {"source": source}},
        "partitions": {"halves": {"dataset": "words", "partitioner": "iid", "num_partitions": 2}},
        "preprocessing": {"short": settings},
        "experiments": {
            "first": blocks | {"evaluation": {"generation": {"max_new_tokens": 12}}},
            "second": blocks,
        },
    }


@pytest.fixture(scope="session")
def finished_run(tiny_model, tmp_path_factory):
    """Return a working directory where the experiment ``first`` is finished, and ``second`` not."""
    from random_adapter import add_random_adapter

    from blossomtune.modeling.load import load_model

    home = tmp_path_factory.mktemp("finished")
    results = home / "results"
    (home / "config").mkdir()
    (home / "config/config.yaml").write_text(yaml.safe_dump(build_config(tiny_model)))
    shutil.copytree(tiny_model, results / "models/tiny")
    write_checksums(results / "models/tiny", "fetch_model")

    preprocessed = results / "preprocessed/halves/short/tiny"
    preprocessed.mkdir(parents=True)
    templates = {"system": SYSTEM, "prompt": PROMPT, "completion": "{{ label }}"}
    shape = RowFormat(name="prompt_completion", detected=False, columns={}, templates=templates)
    manifest = tokenized_manifest(shape=shape, chat_template=chat_template_use())
    write_artifact(preprocessed / "manifest.json", manifest)
    write_checksums(preprocessed, "preprocess")

    model = add_random_adapter(load_model(tiny_model))
    adapter = results / "experiments/first/adapter"
    model.save_pretrained(adapter, save_embedding_layers=False)
    write_checksums(adapter, "federate")
    return home


@pytest.fixture
def configuration(finished_run):
    text = (finished_run / "config/config.yaml").read_text()
    return load_configuration(yaml.safe_load(text))
