"""Render the model card of a merged model or an adapter."""

import math
import re
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import jinja2
import yaml

from blossomtune.artifacts.adapter_config import AdapterConfig
from blossomtune.artifacts.dataset_manifest import DatasetManifest
from blossomtune.artifacts.files import read_artifact
from blossomtune.artifacts.history import History
from blossomtune.artifacts.provenance import Provenance
from blossomtune.artifacts.tokenized_manifest import ChatTemplateUse, TokenizedManifest

MODEL_CARD_PACKAGES = ("flwr", "torch", "transformers", "peft", "trl", "datasets", "safetensors")
"""Packages whose versions the card lists."""


def render_model_card(
    config: Mapping[str, Any],
    model_dir: Path,
    adapter_dir: Path,
    preprocessed: Path,
    dataset: Path,
    history: Path,
    what: Literal["merged", "adapter"] = "merged",
) -> str:
    """Render a README.md on the model's origin, training and use, with front matter for hubs.

    Args:
        config: The stage's configuration: names of the experiment's blocks, strategy,
            aggregation, digest.
        model_dir: Directory of the base model, with ``provenance.json``.
        adapter_dir: PEFT directory of the adapter.
        preprocessed: Directory of tokenized rows, with ``manifest.json``.
        dataset: Directory of the data set, with ``manifest.json``.
        history: ``history.json`` of the federation.
        what: Model that the card belongs to.

    Returns:
        Markdown without times or machine names. The same inputs give the same text.
    """
    base = read_artifact(model_dir / "provenance.json", Provenance)
    data = read_artifact(dataset / "manifest.json", DatasetManifest)
    federation = read_artifact(history, History)
    tokenized = read_artifact(preprocessed / "manifest.json", TokenizedManifest)
    counts = tokenized.clients
    lora = read_artifact(adapter_dir / "adapter_config.json", AdapterConfig)
    losses = {
        r.round: r.evaluation.loss
        for r in federation.rounds
        if r.evaluation and r.round <= federation.result_round
    }
    environment = jinja2.Environment(  # noqa: S701 - Markdown, not HTML
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True, trim_blocks=True
    )
    template = Path(__file__).with_name("model_card.md.jinja").read_text(encoding="utf-8")
    return environment.from_string(template).render(
        front_matter=_build_front_matter(base, data, what),
        is_adapter=what == "adapter",
        base_repository=base.get_repository(default=""),
        config=config,
        base=base,
        data=data,
        dataset_name=dataset.name,
        clients=[(federation.clients[c.client], c.rows) for c in counts],
        history=federation,
        epsilon=_format_epsilon(federation.privacy.epsilon) if federation.privacy else None,
        losses={r: losses[r] for r in [*list(losses)[:1], *list(losses)[-1:]]},
        template_arguments=_format_template_arguments(tokenized.chat_template),
        warnings=tokenized.chat_template.warnings,
        lora=lora,
        rank=lora.max_rank,
        versions={name: version(name) for name in MODEL_CARD_PACKAGES},
    )


def _format_template_arguments(use: ChatTemplateUse) -> str:
    """Format the arguments of ``apply_chat_template`` that give prompts as in training."""
    arguments = dict(use.arguments)
    if use.control_tokens != "keep":
        arguments["sanitize_control_tokens"] = True
    return "".join(f",\n    {key}={value!r}" for key, value in arguments.items())


def _format_epsilon(epsilon: float) -> str:
    """Format with two decimals, rounded up, since epsilon is an upper bound."""
    return f"{math.ceil(epsilon * 100 - 1e-9) / 100:.2f}"


def _build_front_matter(base: Provenance, data: DatasetManifest, what: str) -> str:
    """Return the YAML metadata that the Hugging Face hub reads."""
    # only models and data sets from the hub have a name there
    repository = base.get_repository(default="")
    fields: dict[str, Any] = {
        **({"base_model": repository} if repository else {}),
        **_build_license_fields(base.licence),
        "library_name": "peft" if what == "adapter" else "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["federated-learning", "flower", "lora", "blossomtune"],
    }
    if "repo" in data.source:
        fields["datasets"] = [data.source["repo"]]
    return yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)


def _build_license_fields(license_name: str | None) -> dict[str, str]:
    """Return the hub's license fields: a lower-case SPDX identifier, or ``other``."""
    if license_name is None:
        return {"license": "unknown"}
    if re.fullmatch(r"[A-Za-z0-9.+-]+", license_name):
        return {"license": license_name.lower()}
    return {"license": "other", "license_name": license_name}
