"""Score one model on the held-out rows, row by row."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blossomtune.artifacts.tokenized_manifest import ChatTemplateUse
from blossomtune.errors import UserError
from blossomtune.evaluation.prefix_cache import PrefixCacheScorer
from blossomtune.evaluation.rows import EvaluationRow
from blossomtune.evaluation.stored_model import StoredModel
from blossomtune.modeling.chat_template import ChatTemplate, detect_turn_format
from blossomtune.modeling.devices import select_device
from blossomtune.modeling.encoding import encode_turns, extract_answer, format_answer
from blossomtune.modeling.load import parse_dtype
from blossomtune.modeling.tokenizer import load_tokenizer
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
    chat_template: ChatTemplateUse | None = None,
) -> RowScores:
    """Score the rows with one model, which is freed afterwards.

    Args:
        model: Location of the model.
        rows: The held-out rows.
        settings: The stage's settings ``choices``, ``batch_size``, ``generation``, ``device``,
            ``dtype`` and ``seed``.
        name: Name of the model in the log.
        num_common_rows: Number of common rows, the first ones; answers are generated for a sample
            of these.
        chat_template: Use of the chat template in training, None for its defaults.

    Returns:
        Scores of all rows.

    Raises:
        UserError: If an answer is more than a choice, such as one with a thought.
    """
    template, choices = _load_chat_template(model, chat_template), settings["choices"]
    prompts, answers = _encode_rows(template, rows, choices)
    device = select_device(settings["device"])
    scorer = PrefixCacheScorer(model.load(parse_dtype(settings["dtype"]), device.type), prompts)

    nll, done = np.zeros((len(rows), len(answers[0]))), 0
    for batch in _iterate_batches(prompts, range(len(rows)), settings["batch_size"]):
        state = scorer.prefill([prompts[i] for i in batch])
        for choice in range(nll.shape[1]):
            scored = scorer.compute_nll(state, [answers[i][choice] for i in batch])
            nll[batch, choice] = scored.cpu()
        done += len(batch)
        logger.info("%s: %d of %d rows scored", name, done, len(rows))

    gold = [choices.index(row.completion) if choices else 0 for row in rows]
    sample, exact_match = None, None
    if all(row.prompt for row in rows):
        sample = _sample_rows(num_common_rows, settings)
    if sample is not None:
        exact_match = _compute_exact_match(scorer, template, prompts, rows, sample, settings)
    return RowScores(
        nll=nll[np.arange(len(rows)), gold],
        tokens=np.array([len(a[c]) for a, c in zip(answers, gold, strict=True)]),
        predicted=nll.argmin(axis=1) if choices else None,
        sampled_rows=sample,
        exact_match=exact_match,
    )


def _load_chat_template(model: StoredModel, use: ChatTemplateUse | None) -> ChatTemplate:
    tokenizer = load_tokenizer(model.directory)
    if use is None:
        return ChatTemplate(tokenizer)
    return ChatTemplate(tokenizer, use.arguments, use.control_tokens == "text")


def _encode_rows(
    template: ChatTemplate, rows: Sequence[EvaluationRow], choices: Sequence[str]
) -> tuple[list[list[int]], list[list[list[int]]]]:
    """Return ids of each row's prompt, and of its answers: the choices, else the completion."""
    prompts = [list(row.input_ids[: row.completion_start]) for row in rows]
    completions = [list(row.input_ids[row.completion_start :]) for row in rows]
    if not choices:
        return prompts, [[completion] for completion in completions]
    escaped = [template.control_tokens.escape(choice) for choice in choices]
    columns = [
        encode_turns(template, [format_answer(template, row.prompt, choice) for row in rows])
        for choice in escaped
    ]
    answers = [[answer for _, answer in turns] for turns in zip(*columns, strict=True)]
    end_id = detect_turn_format(template).end_of_turn_id
    for i, (row, completion) in enumerate(zip(rows, completions, strict=True)):
        # a truncated completion has no end
        if completion[-1] == end_id and completion != answers[i][choices.index(row.completion)]:
            raise UserError(
                f"evaluation.choices: held-out row {i} has more than the choice "
                f"{row.completion!r} in its answer, such as a thought",
                "leave choices empty; answers are then generated and compared",
            )
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
    template: ChatTemplate,
    prompts: Sequence[Sequence[int]],
    rows: Sequence[EvaluationRow],
    sampled_rows: NDArray[np.int64],
    settings: Mapping[str, Any],
) -> NDArray[np.bool_]:
    matches: dict[int, bool] = {}
    end_id = detect_turn_format(template).end_of_turn_id
    max_new_tokens = settings["generation"]["max_new_tokens"]
    for batch in _iterate_batches(prompts, sampled_rows, settings["batch_size"]):
        state = scorer.prefill([prompts[i] for i in batch])
        answers = scorer.generate_greedy(state, end_id, max_new_tokens)
        for i, ids in zip(batch, answers, strict=True):
            last_id = rows[i].input_ids[-1]  # calls of tools can end with another token
            ids = ids[: ids.index(last_id)] if last_id in ids else ids
            text = extract_answer(template, template.tokenizer.decode(ids)).strip()
            right = [rows[i].completion, *rows[i].references]
            matches[i] = text in [answer.strip() for answer in right]
    return np.array([matches[int(i)] for i in sampled_rows])
