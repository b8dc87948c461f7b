"""Score one model on the held-out rows, row by row."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blossomtune.artifacts.tokenized_manifest import ChatTemplateUse
from blossomtune.errors import UserError
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
        sampled_rows: (S,) int64, rows with a generated answer; none for plain text.
        answers: S generated answers.
        exact_match: (S,) bool, whether a generated answer equals the completion or a reference.
    """

    nll: NDArray[np.float64]
    tokens: NDArray[np.int64]
    predicted: NDArray[np.int64] | None
    sampled_rows: NDArray[np.int64]
    answers: Sequence[str]
    exact_match: NDArray[np.bool_]


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
            ``gpus``, ``dtype`` and ``seed``.
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
    device = select_device(settings["device"]).type
    num_devices = settings["gpus"] if device != "cpu" else 1
    loaded = model.load(parse_dtype(settings["dtype"]), device, num_devices)
    scorer = PrefixCacheScorer(loaded, prompts)

    sample = sample_rows(num_common_rows if all(row.prompt for row in rows) else 0, settings)
    max_new_tokens = settings["generation"]["max_new_tokens"]
    sampled, generated = set(sample.tolist()), dict[int, str]()
    nll, done = np.zeros((len(rows), len(answers[0]))), 0
    widths = [(len(p), sum(map(len, a))) for p, a in zip(prompts, answers, strict=True)]
    by_length = sorted(range(len(rows)), key=lambda i: len(prompts[i]))  # little padding
    for is_sampled in (True, False):  # answers are generated from the state after scoring
        positions = [i for i in by_length if (i in sampled) == is_sampled]
        for batch in iterate_batches(positions, widths, settings["batch_size"]):
            scores, state = scorer.score([prompts[i] for i in batch], [answers[i] for i in batch])
            nll[batch] = scores.cpu()
            if is_sampled:
                batch_rows = [rows[i] for i in batch]
                texts = generate_answers(scorer.model, state, template, batch_rows, max_new_tokens)
                generated |= dict(zip(batch, texts, strict=True))
            done += len(batch)
            logger.info("%s: %d of %d rows scored", name, done, len(rows))

    texts = [generated[i] for i in sample.tolist()]
    right = [{t.strip() for t in (rows[i].completion, *rows[i].references)} for i in sample]
    gold = [choices.index(row.completion) if choices else 0 for row in rows]
    return RowScores(
        nll=nll[np.arange(len(rows)), gold],
        tokens=np.array([len(a[c]) for a, c in zip(answers, gold, strict=True)]),
        predicted=nll.argmin(axis=1) if choices else None,
        sampled_rows=sample,
        answers=texts,
        exact_match=np.array([t in r for t, r in zip(texts, right, strict=True)], dtype=bool),
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
