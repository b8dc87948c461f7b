"""From base and adapter to one model: PEFT's merge, a check of it, and a model card."""

import math
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jinja2
import pyarrow as pa
import torch
import yaml
from peft import PeftModel
from torch import Tensor
from transformers import AutoConfig

from blossomtune.encoding import answer_start, load_tokenizer
from blossomtune.files import read_json, write_json
from blossomtune.modeling import collate, load_model, read

PROMPTS = 16
"""Held-out prompts that the merged model is compared on."""

TOLERANCE = {
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

PACKAGES = ("flwr", "torch", "transformers", "peft", "trl", "datasets", "safetensors")


class MergeError(RuntimeError):
    """The merged model does not say what base and adapter say together."""


def merge(model_dir: Path, adapter_dir: Path, prompts: Sequence[Sequence[int]], to: Path) -> None:
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
    expected = _logits(adapted, prompts)
    merged = adapted.merge_and_unload(safe_merge=True)
    _difference(_logits(merged, prompts), expected, torch.float32)
    merged.to(stored).save_pretrained(to)
    load_tokenizer(model_dir).save_pretrained(to)
    del adapted, merged  # one model in memory at a time

    difference = _difference(_logits(load_model(to), prompts), expected, stored)
    write_json(
        to / "merge.json",
        {
            "largest_logit_difference": difference,
            "tolerance": TOLERANCE[stored],
            "prompts": len(prompts),
            "precision": _name(stored),
        },
    )


def _difference(found: Tensor, expected: Tensor, precision: torch.dtype) -> float:
    """The largest difference of a logit, if it is small enough."""
    difference = float((found - expected).abs().max())
    if not difference <= TOLERANCE[precision]:  # NaN is wrong too
        raise MergeError(
            f"the merged model's logits differ by up to {difference:.2g} from those of base and "
            f"adapter on {len(found)} held-out prompts; {TOLERANCE[precision]} is allowed in "
            f"{_name(precision)}"
        )
    return difference


def _name(precision: torch.dtype) -> str:
    return str(precision).removeprefix("torch.")


@torch.inference_mode()
def _logits(model: Any, prompts: Sequence[Sequence[int]]) -> Tensor:
    """Logits (B, V) of the first token of each answer."""
    batch = collate([{"input_ids": list(prompt)} for prompt in prompts], pad=0)
    return model(**read(batch), use_cache=False, logits_to_keep=1).logits[:, -1].float()


def held_out_prompts(preprocessed: Path) -> list[list[int]]:
    """Token ids of the first ``PROMPTS`` held-out prompts."""
    with pa.memory_map(str(preprocessed / "test.arrow")) as file:
        table = pa.ipc.open_stream(file).read_all().slice(0, PROMPTS)
        rows = table.select(["input_ids", "labels"]).to_pylist()
    return [row["input_ids"][: answer_start(row["labels"])] for row in rows]


def model_card(
    config: Mapping[str, Any],
    model_dir: Path,
    adapter_dir: Path,
    preprocessed: Path,
    dataset: Path,
    history: Path,
) -> str:
    """What the model was made from and how to use it, with the front matter that hubs read.

    Args:
        config: the stage's configuration: names of the experiment's blocks, strategy,
            aggregation, digest.
        model_dir: the base, with ``provenance.json``.
        adapter_dir: the adapter, with ``adapter_config.json``.
        preprocessed: with ``manifest.json``, which counts rows by client.
        dataset: with ``manifest.json``.
        history: ``history.json`` of the federation.

    Returns:
        The text of README.md: no time, no machine, the same for the same inputs.
    """
    base = read_json(model_dir / "provenance.json")
    data = read_json(dataset / "manifest.json")
    told = read_json(history)
    counted = read_json(preprocessed / "manifest.json")["clients"]
    lora = read_json(adapter_dir / "adapter_config.json")
    seen = [r for r in told["rounds"] if r["evaluation"] and r["round"] <= told["result_round"]]
    environment = jinja2.Environment(  # noqa: S701 - Markdown, not HTML
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True, trim_blocks=True
    )
    template = Path(__file__).with_name("model_card.md.jinja").read_text(encoding="utf-8")
    return environment.from_string(template).render(
        front_matter=_front_matter(config["model"], base, data),
        config=config,
        base=base,
        data=data,
        dataset_name=dataset.name,
        clients=[(told["clients"][c["client"]], c["rows"]) for c in counted],
        told=told,
        epsilon=_upwards(told["privacy"]["epsilon"]) if told["privacy"] else None,
        losses={r["round"]: r["evaluation"]["loss"] for r in seen[:1] + seen[-1:]},
        lora=lora,
        rank=max([lora["r"], *lora.get("rank_pattern", {}).values()]),
        versions={name: version(name) for name in PACKAGES},
    )


def _upwards(epsilon: float) -> str:
    """Two digits behind the point, rounded up: what is said of a bound must hold."""
    return f"{math.ceil(epsilon * 100 - 1e-9) / 100:.2f}"


def _front_matter(name: str, base: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    """The YAML that the Hugging Face hub understands."""
    fields: dict[str, Any] = {
        "base_model": base["source"].get("repo", name),
        **_licence(base["licence"]),
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["federated-learning", "flower", "lora", "blossomtune"],
    }
    if "repo" in data["source"]:  # only data sets of the hub have a name there
        fields["datasets"] = [data["source"]["repo"]]
    return yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)


def _licence(text: str | None) -> dict[str, str]:
    """A licence as the hub names it: an SPDX identifier in small letters, else ``other``."""
    if text is None:
        return {"license": "unknown"}
    if re.fullmatch(r"[A-Za-z0-9.+-]+", text):
        return {"license": text.lower()}
    return {"license": "other", "license_name": text}
