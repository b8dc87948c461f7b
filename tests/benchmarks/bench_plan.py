"""The memory that a plan estimates for a client, beside the peak of a process that trains."""

import tempfile
from pathlib import Path

from datasets import Dataset
from measurement import Measurement

from blossomtune.config.federation import FederationSettings
from blossomtune.config.lora import LoraSettings
from blossomtune.config.training import TrainingSettings
from blossomtune.federation.paths import ClientPaths
from blossomtune.federation.run import FederatedRun
from blossomtune.federation.spec import ClientSpec, FederationSpec
from blossomtune.planning.machine import get_process_memory
from blossomtune.planning.measure_step import measure_step_in_subprocess
from blossomtune.planning.model_memory import estimate_training_memory

SIZES = {
    "a quarter": (576, 8, 128, False),
    "half": (960, 8, 256, False),
    "checkpointed": (960, 8, 256, True),
}
"""Hidden size, layers, tokens per row, and whether gradients are checkpointed."""

NUM_ROWS = 4


def plan_memory() -> Measurement:
    """Return the worst ratio of estimate and peak, of three sizes of a model."""
    pairs = []
    for hidden_size, num_layers, num_tokens, is_checkpointed in SIZES.values():
        with tempfile.TemporaryDirectory() as scratch:
            arguments = {
                "per_device_train_batch_size": NUM_ROWS,
                "gradient_checkpointing": is_checkpointed,
            }
            run = _write_run(Path(scratch), hidden_size, num_layers, num_tokens, arguments)
            rows = _build_rows(num_tokens)
            lora = run.spec.lora
            memory = estimate_training_memory(run.paths.model, lora, lora.r, arguments, rows)
            estimate = get_process_memory() + memory.total
            pairs.append((estimate, measure_step_in_subprocess(run).ram))
    estimate, peak = max(pairs, key=lambda pair: max(pair[0] / pair[1], pair[1] / pair[0]))
    return Measurement(
        name="plan: larger of estimated and measured memory, worst of 3",
        ours=max(estimate, peak) / 2**20,
        reference=min(estimate, peak) / 2**20,
        unit="MB",
        target=1.2,
    )


def _build_rows(num_tokens: int) -> list[dict]:
    """Return rows that share no prefix, with 16 labels each."""
    labels = [-100] * (num_tokens - 16) + [8] * 16
    return [{"input_ids": [i, *[7] * (num_tokens - 1)], "labels": labels} for i in range(NUM_ROWS)]


def _write_run(
    folder: Path, hidden_size: int, num_layers: int, num_tokens: int, arguments: dict
) -> FederatedRun:
    """Write a random model and the rows of one client."""
    from transformers import LlamaConfig, LlamaForCausalLM
    from unit.tiny_models import FAMILIES, build_byte_tokenizer

    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=hidden_size,
        intermediate_size=8 * hidden_size // 3,
        num_hidden_layers=num_layers,
        num_attention_heads=hidden_size // 64,
        num_key_value_heads=hidden_size // 192,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder / "model")
    *parts, _ = FAMILIES["chatml"]
    build_byte_tokenizer(*parts).save_pretrained(folder / "model")
    Dataset.from_list(_build_rows(num_tokens)).save_to_disk(folder / "saved")
    [file] = (folder / "saved").glob("*.arrow")
    (folder / "preprocessed").mkdir()
    file.rename(folder / "preprocessed/client_0.arrow")
    spec = FederationSpec(
        seed=1,
        lora=LoraSettings(),
        training=TrainingSettings(arguments=arguments),
        federation=FederationSettings(),
        clients=(ClientSpec(name="a", num_rows=NUM_ROWS, rank=8),),
        base_model_name="base",
        max_length=128,
    )
    paths = ClientPaths(
        model=folder / "model", preprocessed=folder / "preprocessed", checkpoints=folder
    )
    return FederatedRun(spec=spec, paths=paths)
