"""Tests of tokenizers of GGUF files against llama.cpp's."""

import functools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_gguf import PIECES, train_vocabulary, write_gguf
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoConfig

from blossomtune.data.gguf_tokenizer import (
    PRE_TOKENIZERS,
    SET_BY_TRANSFORMERS,
    find_pre_tokenizer_name,
    load_gguf_tokenizer,
    read_pre_tokenizer_name,
)
from blossomtune.errors import UserError
from blossomtune.export.llama_cpp import LlamaCpp
from blossomtune.modeling.tokenizer import load_tokenizer

TEXTS = st.lists(st.sampled_from(PIECES), max_size=12).map("".join)


@pytest.fixture(scope="module")
def load_pair(tmp_path_factory):
    """Return a function that returns llama.cpp's tokenizer and ours, saved and loaded again."""

    @functools.cache
    def load(name, architecture="llama"):
        folder = tmp_path_factory.mktemp("gguf")
        llama = LlamaCpp(write_gguf(folder / "llama.gguf", name))
        file = write_gguf(folder / "model.gguf", name, architecture)
        load_gguf_tokenizer(file).save_pretrained(folder / "saved")
        if architecture != "llama":  # the architecture selects the class that loads the tokenizer
            config = AutoConfig.from_pretrained(folder, gguf_file=file.name)
            config.save_pretrained(folder / "saved")
        return llama, load_tokenizer(folder / "saved")

    return load


def check_agreement(pair, text):
    llama_cpp, tokenizer = pair
    assert tokenizer.encode(text, add_special_tokens=False) == llama_cpp.encode(text)


@pytest.mark.parametrize("name", [*PRE_TOKENIZERS, *SET_BY_TRANSFORMERS])
@settings(max_examples=30)
@given(text=TEXTS)
def test_tokens_agree_with_llama_cpp(load_pair, name, text):
    check_agreement(load_pair(name), text)


@pytest.mark.parametrize("name", ["smollm", "llama-bpe"])
@pytest.mark.parametrize("architecture", ["qwen3", "starcoder2", "stablelm", "gpt2"])
@settings(max_examples=30)
@given(text=TEXTS)
def test_pre_tokenizer_is_kept_whatever_the_architecture(load_pair, architecture, name, text):
    check_agreement(load_pair(name, architecture), text)


@pytest.mark.parametrize("name", ["deepseek-llm", "default", None])
def test_unknown_pre_tokenizer_is_rejected(tmp_path, name):
    file = write_gguf(tmp_path / "model.gguf", name)
    message = rf"model\.gguf: tokenizer\.ggml\.pre, .* is {name!r}; known: .*smollm(.|\n)*kind hub"
    with pytest.raises(UserError, match=message):
        load_gguf_tokenizer(file)


def test_sentencepiece_has_no_pre_tokenizer():
    metadata = {"tokenizer.ggml.model": "llama", "tokenizer.ggml.pre": "default"}
    assert read_pre_tokenizer_name("model.gguf", metadata) is None


@pytest.mark.parametrize("name", ["smollm", "llama-bpe", "gpt-2"])
def test_tokenizer_has_no_more_tokens_than_the_file(load_pair, name):
    llama_cpp, tokenizer = load_pair(name)
    assert len(tokenizer) == len(train_vocabulary()[0])
    check_agreement((llama_cpp, tokenizer), "a<|endoftext|><|im_end|>")


@pytest.mark.parametrize("name", ["gpt-2", "smollm", "qwen2"])
def test_name_follows_from_the_pre_tokenizer(load_pair, name):
    _, tokenizer = load_pair(name)
    assert find_pre_tokenizer_name(tokenizer.backend_tokenizer) == name


def test_unknown_pre_tokenizer_is_refused():
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    with pytest.raises(UserError, match=r"llama\.cpp has no name for the pre-tokenizer"):
        find_pre_tokenizer_name(backend)
