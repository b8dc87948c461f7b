"""Fixtures of the unit tests."""

from functools import partial

import pytest


@pytest.fixture
def held_out_files(write_held_out, tmp_path):
    """Return ``write_held_out`` for the test's own folder."""
    return partial(write_held_out, tmp_path)


@pytest.fixture(scope="session")
def write_held_out(tiny_model):
    """Return a function that writes held-out rows as download, partition and preprocess do.

    (folder, texts, labels, own, partition, columns) -> (preprocessed, dataset); the partition is
    beside them. ``own`` has texts and labels by client number; ``partition`` is a manifest.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq
    from artifact_samples import partition_manifest, tokenized_manifest
    from chat_examples import encode_example, render_prompt

    from blossomtune.artifacts.checksums import write_checksums
    from blossomtune.artifacts.files import write_artifact
    from blossomtune.modeling.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(tiny_model)

    def write_tokenized(texts, labels, path):
        prompts = [render_prompt(tokenizer, text) for text in texts]
        pairs = [encode_example(tokenizer, p, c) for p, c in zip(prompts, labels, strict=True)]
        integers = pa.list_(pa.int32())
        table = pa.table(
            {
                "row": pa.array(range(len(texts)), pa.int32()),
                "input_ids": pa.array([ids for ids, _ in pairs], integers),
                "labels": pa.array([labels for _, labels in pairs], integers),
                "prompt": prompts,
                "completion": labels,
                "references": pa.array([[]] * len(texts), pa.list_(pa.string())),
                "question": texts,
                "tool_calls": pa.array([""] * len(texts), pa.string()),
            }
        )
        with pa.ipc.new_stream(str(path), table.schema) as stream:
            stream.write_table(table)

    def write(home, texts, labels, own=None, partition=None, **columns):
        preprocessed, dataset = home / "preprocessed", home / "dataset"
        preprocessed.mkdir()
        dataset.mkdir()
        (home / "partition").mkdir()
        write_artifact(home / "partition/manifest.json", partition or partition_manifest())
        write_artifact(preprocessed / "manifest.json", tokenized_manifest())
        write_tokenized(texts, labels, preprocessed / "test.arrow")
        for client, rows in (own or {}).items():
            write_tokenized(*rows, preprocessed / f"client_{client}.test.arrow")
        pq.write_table(
            pa.table({"text": texts, "label": labels, **columns}), dataset / "test.parquet"
        )
        for folder in (preprocessed, dataset, home / "partition"):
            write_checksums(folder, folder.name)
        return preprocessed, dataset

    return write
