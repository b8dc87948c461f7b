"""Compare a generated answer with the right ones."""

from collections.abc import Sequence

from blossomtune.evaluation.rows import EvaluationRow
from blossomtune.modeling.chat_template import ChatTemplate, detect_turn_format
from blossomtune.modeling.encoding import extract_answer


class AnswerMatcher:
    """The right answers to a row.

    Args:
        template: The model's chat template.
        row: A held-out row.
    """

    def __init__(self, template: ChatTemplate, row: EvaluationRow) -> None:
        self._template, self._last_id = template, row.input_ids[-1]
        self._right = [answer.strip() for answer in (row.completion, *row.references)]
        turn = detect_turn_format(template)
        self._is_plain = not turn.answer_prefix and not turn.answer_suffix

    def matches(self, ids: Sequence[int]) -> bool:
        """Return whether an answer, without its end of turn, is a right one."""
        return self._extract(ids) in self._right

    def can_match(self, ids: Sequence[int]) -> bool:
        """Return whether the first tokens of an answer can become a right one.

        Spaces do not count, since later tokens may change them. Thoughts may precede an answer,
        and characters may be incomplete.
        """
        if not self._is_plain:
            return True
        text = _remove_spaces(self._extract(ids)).rstrip("\N{REPLACEMENT CHARACTER}")
        right = [_remove_spaces(answer) for answer in self._right]
        return any(answer.startswith(text) or text.startswith(answer) for answer in right)

    def _extract(self, ids: Sequence[int]) -> str:
        ids = list(ids)
        # calls of tools can end with another token than a turn
        ids = ids[: ids.index(self._last_id)] if self._last_id in ids else ids
        return extract_answer(self._template, self._template.tokenizer.decode(ids)).strip()


def _remove_spaces(text: str) -> str:
    return "".join(text.split())
