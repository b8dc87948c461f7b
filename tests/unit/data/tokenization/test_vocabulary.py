"""Tests of the comparison of token ids with the model's embedding."""

import pyarrow as pa
import pytest

from blossomtune.data.tokenization.arrow_batches import TRAINING_SCHEMA
from blossomtune.data.tokenization.vocabulary import require_embeddings
from blossomtune.errors import UserError
from blossomtune.modeling.tokenizer import load_tokenizer


def write_ids(folder, ids):
    folder.mkdir(exist_ok=True)
    columns = {"row": [0, 1], "input_ids": [[1, 2], ids], "labels": [[1, 2], ids]}
    with pa.ipc.new_stream(str(folder / "client_0.arrow"), TRAINING_SCHEMA) as stream:
        stream.write_table(pa.table(columns, TRAINING_SCHEMA))


def test_token_without_an_embedding_is_rejected(tiny_model, tmp_path):
    tokenizer = load_tokenizer(tiny_model)
    tokenizer.add_tokens(["<image>"])
    write_ids(tmp_path / "rows", [3, 258])
    require_embeddings(tmp_path / "rows", tiny_model, tokenizer)
    write_ids(tmp_path / "rows", [3, tokenizer.convert_tokens_to_ids("<image>"), 4])
    message = "client_0.arrow: a row has the token '<image>' with the id 259, .* below 259 only"
    with pytest.raises(UserError, match=message):
        require_embeddings(tmp_path / "rows", tiny_model, tokenizer)


def test_empty_files_are_accepted(tiny_model, tmp_path):
    (tmp_path / "rows").mkdir()
    with pa.ipc.new_stream(str(tmp_path / "rows/test.arrow"), TRAINING_SCHEMA) as stream:
        stream.write_table(TRAINING_SCHEMA.empty_table())
    require_embeddings(tmp_path / "rows", tiny_model, load_tokenizer(tiny_model))
