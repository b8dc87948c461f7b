"""From base and adapter to one model: PEFT's merge, a check of it, and a model card."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from peft import PeftModel
from torch import Tensor
from transformers import AutoConfig

from blossomtune.files import write_json
from blossomtune.modeling.encoding import find_completion_start
from blossomtune.modeling.load import load_model
from blossomtune.modeling.loss import collate, model_inputs
from blossomtune.modeling.tokenizer import load_tokenizer

NUM_TEST_PROMPTS = 16
"""Held-out prompts that the merged model is compared on."""


MAX_LOGIT_DIFFERENCE = {
    torch.float64: 1e-3,
    torch.float32: 1e-3,
    torch.float16: 0.25,
    torch.bfloat16: 2.0,
}
"""Largest allowed difference of a logit, by the precision that the model is stored in.

Folding only changes the order of float32 sums: 8e-5 for SmolLM2-135M, whose logits reach 41 and
move by up to 19 with the adapter. In half precision every weight is rounded to 11 or 8 bits, as
the base's are: 0.02 and 0.8 there.
"""


class MergeError(RuntimeError):
    """The merged model does not say what base and adapter say together."""


def merge_adapter(
    model_dir: Path, adapter_dir: Path, prompts: Sequence[Sequence[int]], output_dir: Path
) -> None:
    """Folds an adapter into its base and checks that nothing else changed.

    The sum is taken in float32 and stored in the base's own precision. Both the sum and the
    model that was stored, read again, are compared with base and adapter side by side;
    ``merge.json`` records by how much the stored model's logits differ.

    Args:
        model_dir: the base, a Hugging Face directory.
        adapter_dir: the adapter in PEFT's layout.
        prompts: token ids of prompts to compare on.
        to: an empty directory that becomes a Hugging Face directory.

    Raises:
        MergeError: where a logit differs by more than ``TOLERANCE``.
    """
    stored = AutoConfig.from_pretrained(model_dir, local_files_only=True).dtype or torch.float32
    adapted = PeftModel.from_pretrained(load_model(model_dir), adapter_dir).eval()
    expected = _compute_logits(adapted, prompts)
    merged = adapted.merge_and_unload(safe_merge=True)
    _check_logits(_compute_logits(merged, prompts), expected, torch.float32)
    merged.to(stored).save_pretrained(output_dir)
    load_tokenizer(model_dir).save_pretrained(output_dir)
    del adapted, merged  # one model in memory at a time

    difference = _check_logits(_compute_logits(load_model(output_dir), prompts), expected, stored)
    write_json(
        output_dir / "merge.json",
        {
            "largest_logit_difference": difference,
            "tolerance": MAX_LOGIT_DIFFERENCE[stored],
            "prompts": len(prompts),
            "precision": _format_dtype(stored),
        },
    )


def _check_logits(logits: Tensor, expected: Tensor, dtype: torch.dtype) -> float:
    """The largest difference of a logit, if it is small enough."""
    difference = float((logits - expected).abs().max())
    if not difference <= MAX_LOGIT_DIFFERENCE[dtype]:  # NaN is wrong too
        raise MergeError(
            f"the merged model's logits differ by up to {difference:.2g} from those of base and "
            f"adapter on {len(logits)} held-out prompts; {MAX_LOGIT_DIFFERENCE[dtype]} is allowed in "
            f"{_format_dtype(dtype)}"
        )
    return difference


def _format_dtype(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


@torch.inference_mode()
def _compute_logits(model: Any, prompts: Sequence[Sequence[int]]) -> Tensor:
    """Logits (B, V) of the first token of each answer."""
    batch = collate([{"input_ids": list(prompt)} for prompt in prompts], pad_token_id=0)
    return model(**model_inputs(batch), use_cache=False, logits_to_keep=1).logits[:, -1].float()


def load_test_prompts(preprocessed: Path) -> list[list[int]]:
    """Token ids of the first ``PROMPTS`` held-out prompts."""
    with pa.memory_map(str(preprocessed / "test.arrow")) as file:
        table = pa.ipc.open_stream(file).read_all().slice(0, NUM_TEST_PROMPTS)
        rows = table.select(["input_ids", "labels"]).to_pylist()
    return [row["input_ids"][: find_completion_start(row["labels"])] for row in rows]
