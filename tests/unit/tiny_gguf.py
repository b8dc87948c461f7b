"""Small GGUF files: one layer of zeros, and a byte-level BPE vocabulary."""

import functools
import json
import random
from pathlib import Path

import gguf
import numpy as np
from tiny_models import CHATML
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

PIECES = [
    *("word", "The", "ing", "a", "B", "'s", "'LL", "_", "日本", "本", "ก", "ا"),
    *("1", "2", "34", "٣", "½", "Ⅷ"),
    *(" ", "  ", "   ", "\n", "\t", "\r\n", "\u00a0", "\u3000"),
    *(
        "'",
        '"',
        "-",
        "!",
        "...",
        "$",
        "+",
        "<=",
        "^",
        "~",
        "|",
        "`",
        "/",
        "(",
        "。",
        "👍",
        "\u200b",
    ),
]
"""Parts of texts on which pre-tokenizers differ."""

SPECIAL_TOKENS = ["<unk>", "<|im_start|>", "<|im_end|>"]
HIDDEN_SIZE = 32


@functools.cache
def train_vocabulary() -> tuple[list[str], list[str]]:
    """Return tokens and merges, learnt without a pre-tokenizer: they cross every border.

    Every seventh merge is missing: its token is reached only where a word is taken as a whole.
    """
    rng = random.Random(0)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=SPECIAL_TOKENS,
        show_progress=False,
        max_token_length=12,
    )
    texts = ["".join(rng.choices(PIECES, k=4)) for _ in range(3000)]
    tokenizer.train_from_iterator(texts, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    merges = [" ".join(merge) for i, merge in enumerate(model["merges"]) if i % 7]
    return sorted(model["vocab"], key=model["vocab"].get), merges


def write_gguf(file: Path, pre_tokenizer: str | None, architecture: str = "llama") -> Path:
    """Write a model.

    Args:
        file: The file to write.
        pre_tokenizer: The name of the pre-tokenizer; None to leave it out.
        architecture: The architecture by llama.cpp's name.

    Returns:
        The file.
    """
    tokens, merges = train_vocabulary()
    writer = gguf.GGUFWriter(file, architecture)
    writer.add_context_length(64)
    writer.add_embedding_length(HIDDEN_SIZE)
    writer.add_feed_forward_length(HIDDEN_SIZE)
    writer.add_block_count(1)
    writer.add_head_count(4)
    writer.add_head_count_kv(4)
    writer.add_rope_dimension_count(HIDDEN_SIZE // 4)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    if pre_tokenizer is not None:
        writer.add_tokenizer_pre(pre_tokenizer)
    control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    writer.add_token_list(tokens)
    writer.add_token_types([control if t in SPECIAL_TOKENS else normal for t in tokens])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHATML)
    writer.add_tensor("token_embd.weight", build_zeros(len(tokens), HIDDEN_SIZE))
    writer.add_tensor("output_norm.weight", build_zeros(HIDDEN_SIZE))
    for name in ("attn_norm", "ffn_norm"):
        writer.add_tensor(f"blk.0.{name}.weight", build_zeros(HIDDEN_SIZE))
    for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
        writer.add_tensor(f"blk.0.{name}.weight", build_zeros(HIDDEN_SIZE, HIDDEN_SIZE))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def build_zeros(*shape: int) -> np.ndarray:
    """Return zeros in float32."""
    return np.zeros(shape, np.float32)
