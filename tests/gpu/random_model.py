"""Write models with random weights."""

import csv
import random
from pathlib import Path

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

LARGE = {
    "hidden_size": 2048,
    "intermediate_size": 5632,
    "num_hidden_layers": 22,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "max_position_embeddings": 4096,
}
"""1.0 billion weights besides the embeddings, as TinyLlama."""

SMALL = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
}


def write_random_model(directory: Path, tokenizer_directory: Path, shape: dict[str, int]) -> None:
    """Write a Llama in bfloat16, in shards of 1 GB, with the tokenizer of another folder.

    Args:
        directory: Folder to write; one that exists is kept.
        tokenizer_directory: Folder of the tokenizer.
        shape: Sizes for ``LlamaConfig``.
    """
    if (directory / "config.json").is_file():
        return
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_directory)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        dtype=torch.bfloat16,
        **shape,
    )
    torch.manual_seed(0)
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    model.save_pretrained(directory, max_shard_size="1GB")
    tokenizer.save_pretrained(directory)


def write_small_inputs(folder: Path) -> None:
    """Write what ``small.yaml`` names: a tiny model with a tokenizer of bytes, and rows."""
    from tiny_models import FAMILIES, build_byte_tokenizer

    *parts, _ = FAMILIES["chatml"]
    tokenizer = folder / "models/bytes"
    build_byte_tokenizer(*parts).save_pretrained(tokenizer)
    write_random_model(folder / "models/tiny", tokenizer, SMALL)
    words = {"positive": "good great fine", "negative": "bad awful poor", "neutral": "so plain set"}
    chosen, rows = random.Random(0), []
    for i in range(240):
        label = list(words)[i % 3]
        text = " ".join(chosen.choice(words[label].split()) for _ in range(4))
        rows.append([f"{text} {i}", label, f"domain {i // 3 % 2}"])
    with (folder / "words.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["text", "label", "domain"], *rows])


def count_weights(directory: Path) -> int:
    """Return the number of weights in matrices of a model's layers, without embeddings and head."""
    from safetensors import safe_open

    total = 0
    for path in directory.glob("*.safetensors"):
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118 - not a dict
                shape = file.get_slice(name).get_shape()
                if ".layers." in name and len(shape) == 2:
                    total += shape[0] * shape[1]
    return total
