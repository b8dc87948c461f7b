"""Peak memory of a step with 8,192 tokens and a vocabulary of 150,000; reference: 2 GB.

The logits alone would be 4.9 GB in float32, and a mask of all pairs of tokens 268 MB. The peak is
that of the whole process, with its libraries.

As a program, ``bench_long_rows.py KIND`` prints seconds and megabytes of one kind.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measurement import ROOT, Measurement

TOKENS, VOCABULARY, EXAMPLES = 8192, 150_000, 20
LIMIT = 2000


def long_row() -> Measurement:
    """Measure a step on a single row."""
    return _measure("row")


def long_row_checkpointing() -> Measurement:
    """Measure a step on a single row with gradient checkpointing."""
    return _measure("row checkpointing")


def long_pack() -> Measurement:
    """Measure a step on a packed row of 20 examples."""
    return _measure("pack")


def long_pack_checkpointing() -> Measurement:
    """Measure a step on a packed row with gradient checkpointing."""
    return _measure("pack checkpointing")


def long_evaluation() -> Measurement:
    """Measure the loss of two rows of different lengths."""
    return _measure("evaluation")


def _measure(kind: str) -> Measurement:
    code = os.pathsep.join(map(str, (ROOT / "workflow_scripts", ROOT / "tests/unit")))
    environment = os.environ | {"PYTHONPATH": code}
    command = [sys.executable, __file__, kind]
    result = subprocess.run(command, env=environment, check=True, capture_output=True)
    megabytes = json.loads(result.stdout)["megabytes"]
    name = f"8,192 tokens, vocabulary of 150,000: {kind} / 2 GB"
    return Measurement(name, megabytes, LIMIT, "MB", target=1)


def _run(kind: str) -> dict[str, float]:
    """Take one step, or evaluate; return CPU seconds and megabytes."""
    import torch
    from datasets import Dataset
    from peak_memory import get_peak_bytes
    from tiny_models import FAMILIES, build_byte_tokenizer
    from transformers import LlamaConfig, LlamaForCausalLM

    from blossomtune.config.lora import LoraSettings
    from blossomtune.modeling.eval_loss import compute_eval_loss
    from blossomtune.modeling.load import load_model
    from blossomtune.training import adapter
    from blossomtune.training.sft_config import build_sft_config
    from blossomtune.training.trainer import train_adapter

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=192,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=TOKENS,
    )
    ids = torch.randint(0, VOCABULARY, (TOKENS,)).tolist()
    row = {"input_ids": ids, "labels": ids}
    with tempfile.TemporaryDirectory() as folder:
        LlamaForCausalLM(config).save_pretrained(folder)
        model = load_model(Path(folder))
        start = time.process_time()
        if kind == "evaluation":
            compute_eval_loss(model, [row, {key: value[:5000] for key, value in row.items()}])
        else:
            if "pack" in kind:
                length = TOKENS // EXAMPLES
                row["seq_lengths"] = [length] * (EXAMPLES - 1) + [TOKENS - length * (EXAMPLES - 1)]
            arguments = {
                "per_device_train_batch_size": 1,
                "gradient_checkpointing": "checkpointing" in kind,
            }
            sft_config = build_sft_config(
                arguments,
                learning_rate=1e-3,
                max_steps=1,
                seed=1,
                use_cpu=True,
                output_dir=Path(folder) / "trainer",
            )
            train_adapter(
                adapter.build_peft_model(model, LoraSettings(r=8), seed=1),
                build_byte_tokenizer(*FAMILIES["chatml"][:4]),
                Dataset.from_list([row]),
                sft_config,
            )
    seconds = time.process_time() - start
    return {"seconds": round(seconds, 1), "megabytes": get_peak_bytes() / 1e6}


if __name__ == "__main__":
    print(json.dumps(_run(" ".join(sys.argv[1:]))))
