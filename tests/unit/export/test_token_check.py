"""Tests of the comparison of llama.cpp's tokens with those of training."""

import pytest
from tiny_gguf import PIECES, write_gguf

from blossomtune.data.gguf_tokenizer import load_gguf_tokenizer
from blossomtune.errors import UserError
from blossomtune.export.llama_cpp import LlamaCpp
from blossomtune.export.token_check import adds_bos, check_tokens

PROMPT = "<|im_start|>user\n" + "".join(PIECES)


@pytest.fixture
def load(tmp_path):
    """Return a function that loads a file with this pre-tokenizer: llama.cpp's and ours."""

    def load_both(name):
        file = write_gguf(tmp_path / f"{name}.gguf", name)
        return LlamaCpp(file), load_gguf_tokenizer(file)

    return load_both


def test_same_tokens_pass_and_others_are_named(load):
    llama, tokenizer = load("smollm")
    prompts = ["a", PROMPT, *["b"] * 600]
    check_tokens(llama, tokenizer, prompts, "m.gguf")
    assert not adds_bos(llama)
    other, _ = load("gpt-2")
    with pytest.raises(UserError, match=r"m\.gguf: held-out row 1 has other tokens in llama\.cpp"):
        check_tokens(other, tokenizer, prompts, "m.gguf")


def test_file_that_is_no_model_is_refused(tmp_path):
    (tmp_path / "bad.gguf").write_bytes(b"no")
    with pytest.raises(UserError, match=r"llama\.cpp cannot load .*bad\.gguf"):
        LlamaCpp(tmp_path / "bad.gguf")
