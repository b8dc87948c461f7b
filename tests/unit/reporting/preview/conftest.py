"""Tokenized rows as the preprocess stage writes them."""

import pyarrow as pa
import pytest
from artifact_samples import partition_manifest

from blossomtune.artifacts.files import write_artifact
from blossomtune.config.preprocessing import PreprocessingSettings
from blossomtune.data.sources.file_formats import write_parquet
from blossomtune.data.tokenization import build_tokenized
from blossomtune.reporting.preview.view import build_preview

NAMES = {"partition": "halves", "preprocessing": "plain", "model": "tiny"}


@pytest.fixture
def tokenize(tiny_model, tmp_path):
    """Return a function that tokenizes rows of clients and of the test, and returns the folder."""

    def tokenize(rows_by_client, test=(), held_out=None, external=(), name="", **config):
        folders = partition, dataset, output = [
            tmp_path / name / kind for kind in ("partition", "dataset", "tokenized")
        ]
        for folder in folders:
            folder.mkdir(parents=True)
        files = {f"client_{i}": rows for i, rows in enumerate(rows_by_client.values())}
        for name, rows in (files | (held_out or {})).items():
            write_rows(partition / f"{name}.parquet", rows)
        if test:
            write_rows(dataset / "test.parquet", test)
        clients = [{"name": name, "rows": len(rows)} for name, rows in rows_by_client.items()]
        clients += [{"name": name} for name in external]
        write_artifact(partition / "manifest.json", partition_manifest(clients))
        settings = PreprocessingSettings.model_validate(config).model_dump(mode="json")
        build_tokenized.tokenize_partition(
            settings, tiny_model, dataset if test else None, partition, output
        )
        return output

    return tokenize


@pytest.fixture
def preview(tokenize, tiny_model, tmp_path):
    """Return a function that tokenizes rows and returns their preview."""

    def preview(*rows, **options):
        folder = tokenize(*rows, **options)
        config = NAMES | {"seed": 42}
        return build_preview(config, tiny_model, folder.parent / "partition", folder)

    return preview


def write_rows(path, rows):
    table = pa.Table.from_pylist(list(rows))
    write_parquet(table.to_batches(), table.schema, path)
