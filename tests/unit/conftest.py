"""Small assets of the unit tests."""

import pytest


@pytest.fixture
def held_out_files(tiny_model, tmp_path):
    """Writes held-out rows as download and preprocess do: (columns) -> (preprocessed, dataset)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from blossomtune.encoding import encode, load_tokenizer, prompt_text

    def write(texts, labels, **columns):
        tokenizer = load_tokenizer(tiny_model)
        prompts = [prompt_text(tokenizer, text) for text in texts]
        pairs = [encode(tokenizer, p, c) for p, c in zip(prompts, labels, strict=True)]
        integers = pa.list_(pa.int32())
        table = pa.table(
            {
                "row": pa.array(range(len(texts)), pa.int32()),
                "input_ids": pa.array([ids for ids, _ in pairs], integers),
                "labels": pa.array([marked for _, marked in pairs], integers),
                "prompt": prompts,
                "completion": labels,
            }
        )
        preprocessed, dataset = tmp_path / "preprocessed", tmp_path / "dataset"
        preprocessed.mkdir()
        dataset.mkdir()
        with pa.ipc.new_stream(str(preprocessed / "test.arrow"), table.schema) as stream:
            stream.write_table(table)
        pq.write_table(
            pa.table({"text": texts, "label": labels, **columns}), dataset / "test.parquet"
        )
        return preprocessed, dataset

    return write
