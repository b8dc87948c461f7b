"""What one model makes of the held-out rows, row by row."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from blossomtune.evaluation.prefix_cache import PrefixCacheScorer
from blossomtune.evaluation.rows import EvaluationRow
from blossomtune.evaluation.stored_model import StoredModel
from blossomtune.modeling.encoding import IGNORE_INDEX, encode_examples
from blossomtune.modeling.tokenizer import get_end_of_turn_id, get_pad_token_id, load_tokenizer
from blossomtune.seeds import derive_seed


@dataclass(frozen=True)
class RowScores:
    """One model's scores of R rows.

    Attributes:
        nll: (R,) float64, negative log-likelihood of the completion in nats.
        tokens: (R,) int64, tokens of the completion, its end of turn included.
        predicted: (R,) int64, index of the likeliest choice; None where there are no choices.
        sample: (S,) int64, the rows that were answered freely; None where none was asked for, and
            for plain text, which asks nothing.
        exact: (S,) bool, whether the free answer is the completion, to the letter.
    """

    nll: np.ndarray
    tokens: np.ndarray
    predicted: np.ndarray | None
    sampled_rows: np.ndarray | None
    exact_match: np.ndarray | None


def score_rows(
    model: StoredModel,
    rows: Sequence[EvaluationRow],
    settings: Mapping[str, Any],
    name: str,
    num_common_rows: int,
) -> RowScores:
    """Scores the rows with one model, which is in memory for no longer than that.

    Args:
        model: where it lies.
        rows: the held-out rows.
        settings: ``choices``, ``batch_size``, ``generation`` and ``seed`` of the configuration.
        name: what to call the model in the lines of progress.
        common: how many of the rows, from the first on, may be sampled for free answers.
    """
    tokenizer = load_tokenizer(model.directory)
    prompts, answers = _encode_rows(tokenizer, rows, settings["choices"])
    reader = PrefixCacheScorer(model.load(), prompts, get_pad_token_id(tokenizer))

    nll = np.zeros((len(rows), len(answers[0])))
    size = settings["batch_size"]
    for done, batch in _iterate_batches(prompts, range(len(rows)), size):
        context = reader.prefill([prompts[i] for i in batch])
        for choice in range(nll.shape[1]):
            nll[batch, choice] = reader.compute_nll(context, [answers[i][choice] for i in batch])
        print(f"{name}: {done} of {len(rows)} rows scored", file=sys.stderr, flush=True)

    right = [settings["choices"].index(r.completion) if settings["choices"] else 0 for r in rows]
    sample = _sample_rows(num_common_rows, settings) if all(row.prompt for row in rows) else None
    return RowScores(
        nll=nll[np.arange(len(rows)), right],
        tokens=np.array([len(a[c]) for a, c in zip(answers, right, strict=True)]),
        predicted=nll.argmin(axis=1) if settings["choices"] else None,
        sampled_rows=sample,
        exact_match=None
        if sample is None
        else _compute_exact_match(reader, tokenizer, prompts, rows, sample, settings),
    )


def _encode_rows(
    tokenizer: Any, rows: Sequence[EvaluationRow], choices: Sequence[str]
) -> tuple[list[list[int]], list[list[list[int]]]]:
    """Ids of each row's prompt, and of each choice (or else the completion) as its answer."""
    if not choices:
        return [list(r.input_ids[: r.completion_start]) for r in rows], [
            [list(r.input_ids[r.completion_start :])] for r in rows
        ]
    asked = [row.prompt for row in rows]
    columns = [[choice] * len(rows) for choice in choices]
    prompts, answers = [], []
    for examples in zip(
        *(encode_examples(tokenizer, asked, column) for column in columns), strict=True
    ):
        start = examples[0][1].count(IGNORE_INDEX)
        prompts.append(examples[0][0][:start])
        answers.append([ids[start:] for ids, _ in examples])
    return prompts, answers


def _iterate_batches(prompts: Sequence[Sequence[int]], positions: Any, batch_size: int) -> Any:
    """Yields how many rows are done after it, and a batch: rows of like length, little padding."""
    order = sorted((int(i) for i in positions), key=lambda i: (len(prompts[i]), i))
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        yield start + len(batch), batch


def _sample_rows(num_rows: int, settings: Mapping[str, Any]) -> np.ndarray | None:
    """The rows to answer freely: the same for every model of an experiment."""
    size = min(num_rows, settings["generation"]["rows"])
    if size == 0:
        return None
    random = np.random.default_rng(derive_seed(settings["seed"], "generation"))
    return np.sort(random.choice(num_rows, size, replace=False))


def _compute_exact_match(
    scorer: PrefixCacheScorer,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    rows: Sequence[EvaluationRow],
    sampled_rows: np.ndarray,
    settings: Mapping[str, Any],
) -> np.ndarray:
    exact = {}
    end, limit = get_end_of_turn_id(tokenizer), settings["generation"]["max_new_tokens"]
    for _, batch in _iterate_batches(prompts, sampled_rows, settings["batch_size"]):
        context = scorer.prefill([prompts[i] for i in batch])
        for i, ids in zip(batch, scorer.generate_greedy(context, end, limit), strict=True):
            text = tokenizer.decode(ids, skip_special_tokens=True)
            exact[i] = text.strip() == rows[i].completion.strip()
    return np.array([exact[int(i)] for i in sampled_rows])
