"""Tests of the conversion of GGUF models."""

import pytest
from tiny_gguf import write_gguf
from transformers import AutoModelForCausalLM

from blossomtune.data.fetch_model import fetch_model
from blossomtune.data.gguf import convert_gguf
from blossomtune.errors import UserError
from blossomtune.modeling.tokenizer import load_tokenizer


@pytest.fixture
def converted(tmp_path):
    """Return the folder of a converted model."""
    folder = tmp_path / "converted"
    convert_gguf(write_gguf(tmp_path / "model.gguf", "smollm"), folder)
    return folder


def test_converted_model_loads_with_the_file_s_pre_tokenizer(converted):
    tokenizer = load_tokenizer(converted)
    splits = tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str("a  12")
    assert [piece for piece, _ in splits] == ["a", "ĠĠ", "1", "2"]
    model = AutoModelForCausalLM.from_pretrained(converted)
    assert model.config.vocab_size == len(tokenizer)


def test_pre_tokenizer_survives_copying_and_saving(converted, tmp_path):
    """A model folder of this workflow is the source of another, and merging saves it again."""
    folder = tmp_path / "copied"
    folder.mkdir()
    fetch_model({"source": {"kind": "path", "path": str(converted)}}, folder)
    load_tokenizer(folder).save_pretrained(tmp_path / "merged")
    original = (converted / "tokenizer.json").read_bytes()
    assert (folder / "tokenizer.json").read_bytes() == original
    assert (tmp_path / "merged/tokenizer.json").read_bytes() == original


def test_tokenizer_that_transformers_would_replace_is_rejected(tmp_path):
    file = write_gguf(tmp_path / "model.gguf", "smollm", "qwen2")
    message = r"model\.gguf: transformers reads every tokenizer of qwen2 models as Qwen2Tokenizer"
    with pytest.raises(UserError, match=message):
        convert_gguf(file, tmp_path / "converted")
