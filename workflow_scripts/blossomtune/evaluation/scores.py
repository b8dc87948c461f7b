"""Score one model on the held-out rows, row by row."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blossomtune.artifacts.tokenized_manifest import ChatTemplateUse
from blossomtune.errors import UserError
from blossomtune.evaluation.choices import predict_choices
from blossomtune.evaluation.generated_answers import generate_answers, sample_rows
from blossomtune.evaluation.prefix_cache import PrefixCacheScorer
from blossomtune.evaluation.rows import EvaluationRow
from blossomtune.evaluation.stored_model import StoredModel
from blossomtune.modeling.batches import iterate_batches
from blossomtune.modeling.chat_template import ChatTemplate, detect_turn_format
from blossomtune.modeling.devices import select_device
from blossomtune.modeling.encoding import encode_turns, format_answer
from blossomtune.modeling.load import parse_dtype
from blossomtune.modeling.tokenizer import load_tokenizer

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RowScores:
    """One model's scores of R rows.

    Attributes:
        nll: (R,) float64, negative log-likelihood of the completion in nats.
        tokens: (R,) int64, tokens of the completion, including its end of turn.
        predicted: (R,) int64, index of the likeliest choice; None without choices.
        predicted_norm: (R,) int64, that of the likeliest per character; None without choices.
        sampled_rows: (S,) int64, rows with a generated answer; none for plain text.
        answers: S generated answers.
        answer_scores: By metric, (S,) float64; NaN for rows that it does not apply to.
    """

    nll: NDArray[np.float64]
    tokens: NDArray[np.int64]
    predicted: NDArray[np.int64] | None
    predicted_norm: NDArray[np.int64] | None
    sampled_rows: NDArray[np.int64]
    answers: Sequence[str]
    answer_scores: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)


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
        settings: The stage's settings ``batch_size``, ``generation``, ``device``, ``gpus``,
            ``dtype`` and ``seed``.
        name: Name of the model in the log.
        num_common_rows: Number of common rows, the first ones; answers are generated for a sample
            of these.
        chat_template: Use of the chat template in training, None for its defaults.

    Returns:
        Scores of all rows, without ``answer_scores``.

    Raises:
        UserError: If an answer is more than a choice, such as one with a thought.
    """
    template = _load_chat_template(model, chat_template)
    prompts, answers, completions = _encode_rows(template, rows)
    device = select_device(settings["device"]).type
    num_devices = settings["gpus"] if device != "cpu" else 1
    loaded = model.load(parse_dtype(settings["dtype"]), device, num_devices)
    scorer = PrefixCacheScorer(loaded, prompts)

    sample = sample_rows(num_common_rows if all(row.prompt for row in rows) else 0, settings)
    max_new_tokens = settings["generation"]["max_new_tokens"]
    sampled, generated = set(sample.tolist()), dict[int, str]()
    nll, done = np.zeros((len(rows), max(map(len, answers)))), 0
    widths = [(len(p), sum(map(len, a))) for p, a in zip(prompts, answers, strict=True)]
    by_length = sorted(range(len(rows)), key=lambda i: len(prompts[i]))  # little padding
    for is_sampled in (True, False):  # answers are generated from the state after scoring
        positions = [i for i in by_length if (i in sampled) == is_sampled]
        for batch in iterate_batches(positions, widths, settings["batch_size"]):
            scores, state = scorer.score(
                [prompts[i] for i in batch], _pad_answers([answers[i] for i in batch])
            )
            nll[batch, : scores.shape[1]] = scores.cpu()
            if is_sampled:
                batch_rows = [rows[i] for i in batch]
                texts = generate_answers(scorer.model, state, template, batch_rows, max_new_tokens)
                generated |= dict(zip(batch, texts, strict=True))
            done += len(batch)
            logger.info("%s: %d of %d rows scored", name, done, len(rows))

    texts = [generated[i] for i in sample.tolist()]
    choices = [row.choices.texts for row in rows]
    return RowScores(
        nll=nll[np.arange(len(rows)), completions],
        tokens=np.array([len(a[c]) for a, c in zip(answers, completions, strict=True)]),
        predicted=predict_choices(nll, choices) if all(choices) else None,
        predicted_norm=predict_choices(nll, choices, by_length=True) if all(choices) else None,
        sampled_rows=sample,
        answers=texts,
    )


def _pad_answers(answers: Sequence[Sequence[list[int]]]) -> list[list[list[int]]]:
    """Return as many answers per row; those that are added have one token, and cost no input."""
    most = max(map(len, answers))
    return [[*row, *[row[0][:1]] * (most - len(row))] for row in answers]


def _load_chat_template(model: StoredModel, use: ChatTemplateUse | None) -> ChatTemplate:
    tokenizer = load_tokenizer(model.directory)
    if use is None:
        return ChatTemplate(tokenizer)
    return ChatTemplate(tokenizer, use.arguments, use.control_tokens == "text")


def _encode_rows(
    template: ChatTemplate, rows: Sequence[EvaluationRow]
) -> tuple[list[list[int]], list[list[list[int]]], NDArray[np.int64]]:
    """Return ids of prompts and of answers to them, and the position of the completion.

    The answers to a row are its choices, and its completion if it is none of them.
    """
    prompts = [list(row.input_ids[: row.completion_start]) for row in rows]
    escape = template.control_tokens.escape
    turns = iter(
        encode_turns(
            template,
            [
                format_answer(template, row.prompt, escape(choice))
                for row in rows
                for choice in row.choices.texts
            ],
        )
    )
    answers = [[next(turns)[1] for _ in row.choices.texts] for row in rows]
    positions = []
    end_id = detect_turn_format(template).end_of_turn_id
    for row, row_answers in zip(rows, answers, strict=True):
        completion, (texts, gold) = list(row.input_ids[row.completion_start :]), row.choices
        if not texts or row.completion != texts[gold]:
            positions.append(len(row_answers))
            row_answers.append(completion)
            continue
        positions.append(gold)
        # a truncated completion has no end
        if completion[-1] == end_id and completion != row_answers[gold]:
            raise UserError(
                f"evaluation.choices: held-out row {row.row} has more than the choice "
                f"{row.completion!r} in its answer, such as a thought",
                "leave choices empty; answers are then generated and compared",
            )
    return prompts, answers, np.array(positions)
