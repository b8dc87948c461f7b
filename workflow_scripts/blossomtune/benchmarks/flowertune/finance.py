"""Functions of the finance tasks: data and scores as FlowerTune's evaluation has them."""

from collections.abc import Mapping, Sequence
from typing import Any

LABELS = {0: "negative", 1: "neutral", 2: "positive"}
TWEET_LABELS = {0: "negative", 1: "positive", 2: "neutral"}


def load_fpb(**_: Any) -> dict[str, Any]:
    """Return a quarter of Financial PhraseBank, drawn with FlowerTune's seed."""
    from datasets import load_dataset

    rows = load_dataset("takala/financial_phrasebank", "sentences_50agree", split="train")
    return {"test": _draw_quarter(rows).map(convert_fpb, remove_columns=rows.column_names)}


def load_fiqa(**_: Any) -> dict[str, Any]:
    """Return a quarter of FiQA 2018, drawn with FlowerTune's seed from all of its splits."""
    from datasets import concatenate_datasets, load_dataset

    splits = load_dataset("pauri32/fiqa-2018")
    rows = concatenate_datasets([splits[name] for name in ("train", "validation", "test")])
    return {"test": _draw_quarter(rows).map(convert_fiqa, remove_columns=rows.column_names)}


def load_tfns(**_: Any) -> dict[str, Any]:
    """Return the validation rows of the tweets on financial news."""
    from datasets import load_dataset

    rows = load_dataset("zeroshot/twitter-financial-news-sentiment", split="validation")
    return {"test": rows.map(convert_tfns, remove_columns=rows.column_names)}


def _draw_quarter(rows: Any) -> Any:
    return rows.train_test_split(0.25, seed=42)["test"]


def convert_fpb(row: Mapping[str, Any]) -> dict[str, str]:
    """Return the columns of the tasks for a row of Financial PhraseBank."""
    return {"kind": "news", "text": row["sentence"], "label": LABELS[row["label"]]}


def convert_fiqa(row: Mapping[str, Any]) -> dict[str, str]:
    """Return the columns of the tasks for a row of FiQA 2018."""
    score = row["sentiment_score"]
    label = "negative" if score < -0.1 else "neutral" if score < 0.1 else "positive"
    kind = "tweet" if row["format"] == "post" else "news"
    return {"kind": kind, "text": row["sentence"], "label": label}


def convert_tfns(row: Mapping[str, Any]) -> dict[str, str]:
    """Return the columns of the tasks for a tweet."""
    return {"kind": "tweet", "text": row["text"], "label": TWEET_LABELS[row["label"]]}


def score_answer(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """Return whether the sentiment that an answer names is right; one without any is neutral.

    Args:
        doc: Row with ``label``.
        results: The answer.

    Returns:
        Metrics of the row.
    """
    answer = results[0]
    for label in ("positive", "negative"):
        if label in answer or label.capitalize() in answer:
            break
    else:
        label = "neutral"
    return {"acc": float(label == doc["label"])}
