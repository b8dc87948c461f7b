"""Tokenizers of GGUF files, with the pre-tokenizer that the file names.

A pre-tokenizer splits text before BPE merges tokens within the pieces. GGUF stores only its name,
in ``tokenizer.ggml.pre``. transformers knows some of the names; for others it takes GPT-2's without
a message. The names and their meaning are those of llama.cpp (``src/llama-vocab.cpp``).
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, models, pre_tokenizers

from blossomtune.errors import UserError

_QWEN2_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_SINGLE_DIGITS = pre_tokenizers.Sequence(
    [
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False),
    ]
)
_QWEN2 = pre_tokenizers.Sequence(
    [
        pre_tokenizers.Split(Regex(_QWEN2_PATTERN), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ]
)
PRE_TOKENIZERS = {
    **dict.fromkeys(
        ("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"),
        _SINGLE_DIGITS,
    ),
    "stablelm2": _QWEN2,
}
"""Pre-tokenizers that transformers does not set."""

_LLAMA3 = ("llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2")
_GPT2 = ("gpt-2", "phi-2", "olmo", "mpt", "exaone4", "mellum", "gigachat", "a.x-4.0", "trillion")
SET_BY_TRANSFORMERS = (
    *_LLAMA3,
    *_GPT2,
    *("dbrx", "smaug-bpe", "qwen2", "deepseek-r1-qwen", "kormo", "megrez", "qwen35"),
    *("tekken", "gpt-4o", "llama4", "kanana2", "minimax-m2"),
)
"""Names for which transformers sets the model's pre-tokenizer."""

WHOLE_WORDS = (*_LLAMA3, "tekken")
"""Names of models that take a piece in the vocabulary as one token, whatever the merges.

transformers does not set this.
"""


def load_gguf_tokenizer(file: Path) -> Any:
    """Load the tokenizer of a GGUF file.

    Args:
        file: the GGUF file.

    Returns:
        A Hugging Face tokenizer.

    Raises:
        UserError: if the name of the pre-tokenizer is not known.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast
    from transformers.integrations.gguf import read_gguf_metadata

    metadata, _ = read_gguf_metadata(str(file))
    name = read_pre_tokenizer_name(file.name, metadata)
    tokenizer = AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name)
    backend = tokenizer.backend_tokenizer
    vocabulary_size = metadata["tokenizer.ggml.tokens"]  # the reader only counts them
    has_more_tokens = backend.get_vocab_size() > vocabulary_size
    if name is None or not (name in PRE_TOKENIZERS or name in WHOLE_WORDS or has_more_tokens):
        return tokenizer
    if has_more_tokens:
        backend = remove_added_tokens(backend, vocabulary_size)
    backend.pre_tokenizer = PRE_TOKENIZERS.get(name, backend.pre_tokenizer)
    backend.model.ignore_merges = name in WHOLE_WORDS
    # A class of one model, such as Qwen2Tokenizer, would set its own pre-tokenizer when loaded.
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        chat_template=tokenizer.chat_template,
        **tokenizer.special_tokens_map,
    )


def read_pre_tokenizer_name(file_name: str, metadata: Mapping[str, Any]) -> str | None:
    """Return the name of the pre-tokenizer of a GGUF file.

    Args:
        file_name: the file's name, for messages.
        metadata: the file's metadata.

    Returns:
        The name, or None for a tokenizer that has none, such as SentencePiece's.

    Raises:
        UserError: if the name is not known.
    """
    if metadata.get("tokenizer.ggml.model") != "gpt2":  # llama.cpp: only BPE has pre-tokenizers
        return None
    name: str | None = metadata.get("tokenizer.ggml.pre")
    known = (*PRE_TOKENIZERS, *SET_BY_TRANSFORMERS)
    if name not in known:
        raise UserError(
            f"{file_name}: tokenizer.ggml.pre, the name of its pre-tokenizer, is {name!r}; "
            f"known: {', '.join(sorted(known))}",
            "fetch the model with its original tokenizer.json: source.kind hub, or path",
        )
    return name


def remove_added_tokens(backend: Tokenizer, vocabulary_size: int) -> Tokenizer:
    """Remove added tokens whose ids the model's embedding does not have.

    transformers adds GPT-2's ``<|endoftext|>`` to byte-level vocabularies that do not have it.

    Args:
        backend: the tokenizer.
        vocabulary_size: the number of tokens of the file.

    Returns:
        A tokenizer of that size.
    """
    state = json.loads(backend.to_str())
    state["added_tokens"] = [t for t in state["added_tokens"] if t["id"] < vocabulary_size]
    return Tokenizer.from_str(json.dumps(state))


def find_pre_tokenizer_name(backend: Tokenizer) -> str:
    """Return llama.cpp's name of a tokenizer's pre-tokenizer.

    Args:
        backend: a byte-level BPE tokenizer.

    Returns:
        The name to write as ``tokenizer.ggml.pre``.

    Raises:
        UserError: if no known name stands for it.
    """
    named = {
        "gpt-2": pre_tokenizers.ByteLevel(add_prefix_space=False),
        "smollm": _SINGLE_DIGITS,
        "qwen2": _QWEN2,
    }
    state = _get_state(backend.pre_tokenizer)
    for name, pre_tokenizer in named.items():
        if _get_state(pre_tokenizer) == state:
            return name
    raise UserError(
        "llama.cpp has no name for the pre-tokenizer of this model's tokenizer.json; "
        f"known: {', '.join(named)}, and those of models that its converter recognises",
        "leave `gguf` out; vLLM and `transformers serve` read tokenizer.json itself",
    )


def _get_state(pre_tokenizer: Any) -> Any:
    """Return what a pre-tokenizer splits by; offsets are not part of it."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizer
    text = json.dumps(json.loads(backend.to_str())["pre_tokenizer"], sort_keys=True)
    return re.sub(r'"trim_offsets": (true|false)', "", text)
