"""Merge an adapter into its base model and check the result."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor

from blossomtune.artifacts.files import write_artifact
from blossomtune.artifacts.merge_check import MergeCheck
from blossomtune.export.merged_weights import write_merged_weights
from blossomtune.modeling.devices import select_device
from blossomtune.modeling.empty_model import build_empty_model
from blossomtune.modeling.encoding import find_completion_start
from blossomtune.modeling.layer_streaming import stream_layers
from blossomtune.modeling.loss import collate, model_inputs
from blossomtune.modeling.merged_layers import attach_adapter
from blossomtune.modeling.tokenizer import load_tokenizer
from blossomtune.modeling.weight_reader import WeightReader, find_weights_dtype

CONFIG_FILES = ("config.json", "generation_config.json")
"""Settings of the architecture and of generation, which merging does not change."""

PROCESSOR_FILES = (
    "processor_config.json",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
)
"""Settings of how a multimodal model reads images, which training does not change."""

NUM_TEST_PROMPTS = 16
"""Number of held-out prompts that the merged model is compared on."""

MAX_LOGIT_DIFFERENCE = {
    torch.float64: 1e-3,
    torch.float32: 1e-3,
    torch.float16: 0.25,
    torch.bfloat16: 2.0,
}
"""Largest allowed difference of a logit, by dtype of the stored model.

Measured with SmolLM2-135M, whose logits reach 41 and change by up to 19: float32 8e-5, since the
order of sums changes; float16 0.02 and bfloat16 0.8, since weights are rounded.
"""


class MergeError(RuntimeError):
    """Logits of the merged model that differ from those of base and adapter."""


def merge_adapter(
    model_dir: Path, adapter_dir: Path, prompts: Sequence[Sequence[int]], output_dir: Path
) -> None:
    """Merge an adapter into its base model and compare both, one layer in memory at a time.

    Weights are added in float32 and stored in the base's dtype. The logits of the sum and of the
    stored model are compared with those of base and adapter, all computed in float32.
    ``merge.json`` has the largest difference of the stored model.

    Args:
        model_dir: Hugging Face directory of the base model.
        adapter_dir: PEFT directory of the adapter.
        prompts: Token ids of prompts to compare on.
        output_dir: Empty directory that becomes a Hugging Face directory.

    Raises:
        MergeError: If a logit differs by more than ``MAX_LOGIT_DIFFERENCE``.
    """
    base = build_empty_model(model_dir, torch.nan)
    weights = WeightReader(model_dir, base)
    peft_model = attach_adapter(base, adapter_dir)
    expected = _compute_logits(peft_model, weights, prompts)
    merged = _compute_logits(peft_model, weights, prompts, merge=True)
    _check_logits(merged, expected, torch.float32)

    write_merged_weights(peft_model, weights, model_dir, output_dir)
    load_tokenizer(model_dir).save_pretrained(output_dir)
    for name in (*CONFIG_FILES, *PROCESSOR_FILES):
        if (model_dir / name).is_file():
            shutil.copyfile(model_dir / name, output_dir / name)

    stored = build_empty_model(output_dir, torch.nan)
    dtype = find_weights_dtype(output_dir)
    logits = _compute_logits(stored, WeightReader(output_dir, stored), prompts)
    check = MergeCheck(
        largest_logit_difference=_check_logits(logits, expected, dtype),
        tolerance=MAX_LOGIT_DIFFERENCE[dtype],
        prompts=len(prompts),
        precision=_format_dtype(dtype),
    )
    write_artifact(output_dir / "merge.json", check)


def _check_logits(logits: Tensor, expected: Tensor, dtype: torch.dtype) -> float:
    """Return the largest difference of a logit; raise if it is too large."""
    difference, allowed = float((logits - expected).abs().max()), MAX_LOGIT_DIFFERENCE[dtype]
    if not difference <= allowed:  # NaN fails, too
        raise MergeError(
            f"the merged model's logits differ by up to {difference:.2g} from those of base and "
            f"adapter on {len(logits)} held-out prompts; {allowed} is allowed in "
            f"{_format_dtype(dtype)}"
        )
    return difference


def _format_dtype(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


@torch.no_grad()
def _compute_logits(
    model: Any, weights: WeightReader, prompts: Sequence[Sequence[int]], *, merge: bool = False
) -> Tensor:
    """Return float32 logits (B, V) of each completion's first token."""
    batch = collate([{"input_ids": list(prompt)} for prompt in prompts])
    device = select_device()
    inputs = {name: value.to(device) for name, value in model_inputs(model, batch).items()}
    for whole in (False, True):
        with stream_layers(model, weights, device, merge=merge, whole=whole):
            output = model(**inputs, use_cache=False, logits_to_keep=1)
        logits: Tensor = output.logits[:, -1].float().cpu()
        if logits.isfinite().all():
            break  # otherwise, a layer may have used weights of another one
    return logits


def load_test_prompts(preprocessed: Path) -> list[list[int]]:
    """Return token ids of the first ``NUM_TEST_PROMPTS`` held-out prompts."""
    with pa.memory_map(str(preprocessed / "test.arrow")) as file:
        table = pa.ipc.open_stream(file).read_all().slice(0, NUM_TEST_PROMPTS)
        rows = table.select(["input_ids", "labels"]).to_pylist()
    return [row["input_ids"][: find_completion_start(row["labels"])] for row in rows]
