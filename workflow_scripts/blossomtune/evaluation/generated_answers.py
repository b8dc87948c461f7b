"""Generate answers to a sample of the held-out rows."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blossomtune.evaluation.decoding import DecodingState, generate_greedy
from blossomtune.evaluation.rows import EvaluationRow
from blossomtune.modeling.chat_template import ChatTemplate, detect_turn_format
from blossomtune.modeling.encoding import extract_answer
from blossomtune.seeds import derive_seed


def sample_rows(num_rows: int, settings: Mapping[str, Any]) -> NDArray[np.int64]:
    """Draw the rows to generate answers for: the same for all models of an experiment.

    Args:
        num_rows: Number of common rows.
        settings: The stage's settings ``generation`` and ``seed``.

    Returns:
        (S,) positions, ascending; none if no answers are to be generated.
    """
    size = min(num_rows, settings["generation"]["rows"])
    random = np.random.default_rng(derive_seed(settings["seed"], "generation"))
    return np.sort(random.choice(num_rows, size, replace=False))


def generate_answers(
    model: Any,
    state: DecodingState,
    template: ChatTemplate,
    rows: Sequence[EvaluationRow],
    max_new_tokens: int,
) -> list[str]:
    """Generate one answer per row from the state after the rows' prompts.

    Args:
        model: A causal language model.
        state: State of the rows' prompts, which is changed.
        template: The model's chat template.
        rows: The rows.
        max_new_tokens: Maximum number of tokens per answer.

    Returns:
        Texts without thoughts before the answer, control tokens and outer white space.
    """
    # calls of tools can end with another token than a turn; a truncated answer ends with any
    added = template.tokenizer.added_tokens_decoder
    last_ids = [row.input_ids[-1] if row.input_ids[-1] in added else None for row in rows]
    answers = generate_greedy(
        model,
        state,
        detect_turn_format(template).end_of_turn_id,
        max_new_tokens,
        should_stop=lambda i, ids: last_ids[i] in ids,
    )
    return [
        decode_answer(template, ids, last_id)
        for ids, last_id in zip(answers, last_ids, strict=True)
    ]


def decode_answer(template: ChatTemplate, ids: Sequence[int], last_id: int | None) -> str:
    """Return the text of a generated answer.

    Args:
        template: The model's chat template.
        ids: Generated token ids.
        last_id: Id of the token that ends the right answer, or None if none does.

    Returns:
        The text up to that token, as ``extract_answer`` returns it, without outer white space.
    """
    ids = list(ids)
    ids = ids[: ids.index(last_id)] if last_id is not None and last_id in ids else ids
    return extract_answer(template, template.tokenizer.decode(ids)).strip()
