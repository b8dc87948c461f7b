"""Collect the values that the template of the answers shows."""

from typing import Any

from markupsafe import Markup

from blossomtune.artifacts.answers import Answer
from blossomtune.reporting import answers, formatting
from blossomtune.reporting.answers import ComparedAnswers
from blossomtune.reporting.load import ExperimentResults
from blossomtune.reporting.metric_names import format_metric, get_metric_label
from blossomtune.reporting.outcome import label_model
from blossomtune.reporting.untrusted_text import render_text, shorten

_MAX_TITLE, _MAX_REFERENCES = 110, 3
_SHORT = 280  # characters of a text in the head of the page


def build_answers_context(e: ExperimentResults) -> dict[str, Any] | None:
    """Return the variables of the answers' template; None without generated answers."""
    compared = answers.compare_answers(e)
    if not compared:
        return None
    shown = answers.select_rows(compared)
    return {
        "summary": _describe_selection(compared, shown),
        "rows": [_build_row(e, c) for c in shown],
    }


def build_typical_answer(e: ExperimentResults) -> dict[str, Any] | None:
    """Return a row for the head of the page: that with the median change; None without answers."""
    typical = answers.select_typical(answers.compare_answers(e))
    if typical is None:
        return None
    record = typical.record
    texts = {"prompt": record.prompt, "reference": record.references[0]}
    texts |= {name: record.answers[name].text for name in ("base", "federated")}
    shown = {name: render_text(shorten(text, _SHORT)) for name, text in texts.items()}
    return shown | {"change": _format_change(typical)}


def _describe_selection(compared: list[ComparedAnswers], shown: list[ComparedAnswers]) -> str:
    counts = answers.describe_outcomes(compared)
    sentences = [f"{formatting.capitalize_first(counts)}."] if counts else []
    if len(shown) < len(compared):
        number = formatting.capitalize_first(formatting.spell_number(len(shown)))
        sentences.append(
            f"{number} of them are below, from the largest gain to the largest loss: the best "
            "five, the worst five, and others evenly between them."
        )
    else:
        sentences.append("All are below, from the largest gain to the largest loss.")
    sentences.append("All of them, in full, are in answers.jsonl beside the metrics.")
    return " ".join(sentences)


def _build_row(e: ExperimentResults, compared: ComparedAnswers) -> dict[str, Any]:
    record, metric = compared.record, compared.metric
    models: dict[bool, list[tuple[str, dict[str, Any]]]] = {False: [], True: []}
    baselines = sorted(record.answers.keys() - {"base", "federated"}, key=lambda n: (len(n), n))
    for name in ("base", "federated", *baselines):
        is_local = name.startswith("local_")
        models[is_local].append((label_model(e, name), _build_answer(record.answers[name], metric)))
    return {
        "outcome": compared.outcome,
        "title": render_text(shorten(record.prompt, _MAX_TITLE)),
        "change": _format_change(compared),
        "prompt": render_text(record.prompt),
        "references": [render_text(text) for text in record.references[:_MAX_REFERENCES]],
        "num_more_references": max(0, len(record.references) - _MAX_REFERENCES),
        "models": models[False],
        "local": models[True],
    }


def _build_answer(answer: Answer, metric: str | None) -> dict[str, Any]:
    score = ""
    if metric is not None:
        score = f"{get_metric_label(metric)} {format_metric(answer.scores.get(metric))}"
    html = render_text(answer.text) if answer.text.strip() else Markup("<em>no answer</em>")
    return {"text": html, "score": score}


def _format_change(compared: ComparedAnswers) -> str:
    if compared.metric is None:
        return ""
    scores = [
        format_metric(compared.record.answers[name].scores.get(compared.metric))
        for name in ("base", "federated")
    ]
    return f"{get_metric_label(compared.metric)} {' → '.join(scores)}"
