"""Score one model on the held-out rows, row by row."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blossomtune.evaluation.prefix_cache import PrefixCacheScorer
from blossomtune.evaluation.rows import EvaluationRow
from blossomtune.evaluation.stored_model import StoredModel
from blossomtune.modeling.encoding import IGNORE_INDEX, encode_examples
from blossomtune.modeling.tokenizer import get_end_of_turn_id, load_tokenizer
from blossomtune.seeds import derive_seed

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RowScores:
    """One model's scores of R rows.

    Attributes:
        nll: (R,) float64, negative log-likelihood of the completion in nats.
        tokens: (R,) int64, tokens of the completion, including its end of turn.
        predicted: (R,) int64, index of the likeliest choice; None without choices.
        sampled_rows: (S,) int64, rows with a generated answer; None if there are none, and for
            plain text.
        exact_match: (S,) bool, whether the generated answer equals the completion.
    """

    nll: NDArray[np.float64]
    tokens: NDArray[np.int64]
    predicted: NDArray[np.int64] | None
    sampled_rows: NDArray[np.int64] | None
    exact_match: NDArray[np.bool_] | None


def score_rows(
    model: StoredModel,
    rows: Sequence[EvaluationRow],
    settings: Mapping[str, Any],
    name: str,
    num_common_rows: int,
) -> RowScores:
    """Score the rows with one model, which is freed afterwards.

    Args:
        model: Location of the model.
        rows: The held-out rows.
        settings: The stage's settings ``choices``, ``batch_size``, ``generation`` and ``seed``.
        name: Name of the model in the log.
        num_common_rows: Number of common rows, the first ones; answers are generated for a sample
            of these.

    Returns:
        Scores of all rows.
    """
    tokenizer, choices = load_tokenizer(model.directory), settings["choices"]
    prompts, answers = _encode_rows(tokenizer, rows, choices)
    scorer = PrefixCacheScorer(model.load(), prompts)

    nll, done = np.zeros((len(rows), len(answers[0]))), 0
    for batch in _iterate_batches(prompts, range(len(rows)), settings["batch_size"]):
        state = scorer.prefill([prompts[i] for i in batch])
        for choice in range(nll.shape[1]):
            nll[batch, choice] = scorer.compute_nll(state, [answers[i][choice] for i in batch])
        done += len(batch)
        logger.info("%s: %d of %d rows scored", name, done, len(rows))

    gold = [choices.index(row.completion) if choices else 0 for row in rows]
    sample, exact_match = None, None
    if all(row.prompt for row in rows):
        sample = _sample_rows(num_common_rows, settings)
    if sample is not None:
        exact_match = _compute_exact_match(scorer, tokenizer, prompts, rows, sample, settings)
    return RowScores(
        nll=nll[np.arange(len(rows)), gold],
        tokens=np.array([len(a[c]) for a, c in zip(answers, gold, strict=True)]),
        predicted=nll.argmin(axis=1) if choices else None,
        sampled_rows=sample,
        exact_match=exact_match,
    )


def _encode_rows(
    tokenizer: Any, rows: Sequence[EvaluationRow], choices: Sequence[str]
) -> tuple[list[list[int]], list[list[list[int]]]]:
    """Return ids of each row's prompt, and of its answers: the choices, else the completion."""
    if not choices:
        prompts = [list(row.input_ids[: row.completion_start]) for row in rows]
        return prompts, [[list(row.input_ids[row.completion_start :])] for row in rows]
    texts = [row.prompt for row in rows]
    columns = [encode_examples(tokenizer, texts, [choice] * len(rows)) for choice in choices]
    prompts, answers = [], []
    for examples in zip(*columns, strict=True):
        start = examples[0][1].count(IGNORE_INDEX)
        prompts.append(examples[0][0][:start])
        answers.append([ids[start:] for ids, _ in examples])
    return prompts, answers


def _iterate_batches(
    prompts: Sequence[Sequence[int]], positions: Iterable[int], batch_size: int
) -> Iterator[list[int]]:
    """Yield batches of rows with prompts of similar length, which need little padding."""
    order = sorted((int(i) for i in positions), key=lambda i: (len(prompts[i]), i))
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def _sample_rows(num_rows: int, settings: Mapping[str, Any]) -> NDArray[np.int64] | None:
    """Draw the rows to generate answers for: the same for all models of an experiment."""
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
    sampled_rows: NDArray[np.int64],
    settings: Mapping[str, Any],
) -> NDArray[np.bool_]:
    matches: dict[int, bool] = {}
    end_id, max_new_tokens = get_end_of_turn_id(tokenizer), settings["generation"]["max_new_tokens"]
    for batch in _iterate_batches(prompts, sampled_rows, settings["batch_size"]):
        state = scorer.prefill([prompts[i] for i in batch])
        answers = scorer.generate_greedy(state, end_id, max_new_tokens)
        for i, ids in zip(batch, answers, strict=True):
            text = tokenizer.decode(ids, skip_special_tokens=True)
            matches[i] = text.strip() == rows[i].completion.strip()
    return np.array([matches[int(i)] for i in sampled_rows])
