"""TODO docstring."""

import math
import re
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jinja2
import yaml

from blossomtune.files import read_json

MODEL_CARD_PACKAGES = ("flwr", "torch", "transformers", "peft", "trl", "datasets", "safetensors")


def render_model_card(
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
        front_matter=_build_front_matter(config["model"], base, data),
        config=config,
        base=base,
        data=data,
        dataset_name=dataset.name,
        clients=[(told["clients"][c["client"]], c["rows"]) for c in counted],
        told=told,
        epsilon=_format_epsilon(told["privacy"]["epsilon"]) if told["privacy"] else None,
        losses={r["round"]: r["evaluation"]["loss"] for r in seen[:1] + seen[-1:]},
        lora=lora,
        rank=max([lora["r"], *lora.get("rank_pattern", {}).values()]),
        versions={name: version(name) for name in MODEL_CARD_PACKAGES},
    )


def _format_epsilon(epsilon: float) -> str:
    """Two digits behind the point, rounded up: what is said of a bound must hold."""
    return f"{math.ceil(epsilon * 100 - 1e-9) / 100:.2f}"


def _build_front_matter(model_name: str, base: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    """The YAML that the Hugging Face hub understands."""
    fields: dict[str, Any] = {
        "base_model": base["source"].get("repo", model_name),
        **_build_license_fields(base["licence"]),
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["federated-learning", "flower", "lora", "blossomtune"],
    }
    if "repo" in data["source"]:  # only data sets of the hub have a name there
        fields["datasets"] = [data["source"]["repo"]]
    return yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)


def _build_license_fields(license_name: str | None) -> dict[str, str]:
    """A licence as the hub names it: an SPDX identifier in small letters, else ``other``."""
    if license_name is None:
        return {"license": "unknown"}
    if re.fullmatch(r"[A-Za-z0-9.+-]+", license_name):
        return {"license": license_name.lower()}
    return {"license": "other", "license_name": license_name}
