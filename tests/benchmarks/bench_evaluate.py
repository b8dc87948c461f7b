"""Scores of the default's choices; reference: a plain transformers loop over prompt and choice."""

import time
from collections.abc import Callable
from pathlib import Path

import yaml
from default_experiment import prepare_default
from measurement import ROOT, Measurement

from blossomtune.config import stage_inputs
from blossomtune.config.load import load_configuration
from blossomtune.evaluation.rows import EvaluationRow, load_evaluation_set

ROWS = 200


def evaluate() -> Measurement:
    """Measure 200 held-out rows with the base model, loading included, without generation."""
    configuration = load_configuration(yaml.safe_load((ROOT / "config/config.yaml").read_text()))
    name = configuration.run[0]
    settings = stage_inputs.evaluate(configuration, name)
    settings |= {"by": None, "generation": {"rows": 0, "max_new_tokens": 1}}
    inputs = prepare_default()[1]
    partition = configuration.experiments[name].partition
    dataset = ROOT / "results/datasets" / configuration.partitions[partition].dataset
    rows = load_evaluation_set(inputs["preprocessed"], inputs["partition"], dataset, settings).rows[
        :ROWS
    ]
    ours, predicted = _measure(lambda: _score(inputs["model"], rows, settings))
    reference, expected = _measure(lambda: _score_plainly(inputs["model"], rows, settings))
    assert sum(map(int.__ne__, predicted, expected)) <= 1  # a tie to six digits
    name = "evaluate / plain transformers loop, 200 rows, 3 choices"
    return Measurement(name, ours, reference, "s", target=0.3)


def _measure(function: Callable[[], list[int]]) -> tuple[float, list[int]]:
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def _score(model: Path, rows: list[EvaluationRow], settings: dict) -> list[int]:
    from blossomtune.evaluation.scores import score_rows
    from blossomtune.evaluation.stored_model import StoredModel

    scores = score_rows(StoredModel(model), rows, settings, "base", len(rows))
    return scores.predicted.tolist()


def _score_plainly(directory: Path, rows: list[EvaluationRow], settings: dict) -> list[int]:
    """Return the likeliest choices; batches have as many texts, the choices of a row are rows."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, DataCollatorForSeq2Seq

    tokenizer = AutoTokenizer.from_pretrained(directory)
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    collate = DataCollatorForSeq2Seq(tokenizer, return_tensors="pt")
    examples = []
    for row in rows:
        prompt = list(row.input_ids[: row.completion_start])
        for choice in settings["choices"]:
            answer = [*tokenizer(choice)["input_ids"], row.input_ids[-1]]
            labels = [-100] * len(prompt) + answer
            examples.append({"input_ids": prompt + answer, "labels": labels})
    order = sorted(range(len(examples)), key=lambda i: len(examples[i]["input_ids"]))
    nll = torch.zeros(len(examples))
    for start in range(0, len(order), settings["batch_size"]):
        positions = order[start : start + settings["batch_size"]]
        batch = collate([examples[i] for i in positions])
        labels = batch.pop("labels")
        with torch.inference_mode():
            logits = model(**batch).logits[:, :-1]
        losses = torch.nn.functional.cross_entropy(
            logits.transpose(1, 2), labels[:, 1:], reduction="none"
        )
        nll[positions] = losses.sum(dim=1)
    return nll.view(len(rows), -1).argmin(dim=1).tolist()
