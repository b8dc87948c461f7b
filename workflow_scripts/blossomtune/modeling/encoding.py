"""Encode rendered text as token ids and labels, for all stages."""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from blossomtune.modeling.chat_template import ChatTemplate, detect_turn_format

IGNORE_INDEX = -100
"""Label of a token without loss (PyTorch's ``ignore_index``)."""

PAD_TOKEN_ID = 0
"""Id to pad with. Padding is masked, and a tokenizer's pad token may have no embedding."""


class TurnText(NamedTuple):
    """Text of one learnt turn, with the text before it.

    Attributes:
        context: Text after the previous learnt turn, without loss.
        answer: Text with loss, without its end of turn.
        end_of_turn: Token that ends the turn, with loss.
    """

    context: str
    answer: str
    end_of_turn: str


def format_answer(template: ChatTemplate, prompt: str, completion: str) -> TurnText:
    """Format an answer as the model writes it after a prompt.

    Args:
        template: A chat template.
        prompt: Rendered prompt.
        completion: Answer, without its end of turn.

    Returns:
        The turn.
    """
    turn = detect_turn_format(template)
    answer = turn.answer_prefix + completion + turn.answer_suffix
    return TurnText(prompt, answer, turn.end_of_turn_token)


def extract_answer(template: ChatTemplate, text: str) -> str:
    """Extract the answer from what a model writes: without a thought or a channel before it.

    Args:
        template: A chat template.
        text: Generated or learnt text, without its end of turn.

    Returns:
        The answer, without control tokens.
    """
    turn = detect_turn_format(template)
    marks = re.findall(r"<[^<>\s]+>", turn.answer_prefix)
    if text.startswith(turn.answer_prefix):
        text = text[len(turn.answer_prefix) :]
    elif marks and marks[-1] in text:
        text = text.rpartition(marks[-1])[2].strip()
    return template.control_tokens.remove(text.removesuffix(turn.answer_suffix))


def encode_turns(
    template: ChatTemplate,
    turns: Sequence[TurnText],
    previous_ends: Sequence[str] | None = None,
) -> list[tuple[list[int], list[int]]]:
    """Return token ids of contexts and answers.

    A context has the same ids as at inference, whatever the answer. It is split after its last
    special token. Only its suffix is tokenized twice: alone, and together with the answer. Special
    tokens come from the chat template alone: no second BOS.

    Args:
        template: A chat template.
        turns: Texts of learnt turns.
        previous_ends: Per turn, the end of the learnt turn that its context follows, or "" if its
            context starts the conversation; None if all do.

    Returns:
        Per turn, the ids of the context, and those of the answer with its end of turn.
    """
    turn_format = detect_turn_format(template)
    heads, suffixes = [], []
    for turn, start in zip(turns, previous_ends or [""] * len(turns), strict=True):
        split, last = 0, turn_format.last_special_token
        if last and turn.context.endswith(last + turn_format.prompt_suffix):
            split = len(turn.context) - len(turn_format.prompt_suffix)
        heads.append((start, turn.context[:split]))
        suffixes.append((last if split else start, turn.context[split:]))

    unique = list(dict.fromkeys(suffixes))  # most often one for all
    suffix_ids = dict(zip(unique, _tokenize_after_token(template, unique), strict=True))
    full_ids = _tokenize_after_token(
        template,
        [(token, text + turn.answer) for (token, text), turn in zip(suffixes, turns, strict=True)],
    )
    encoded = []
    for head, key, full, turn in zip(
        _tokenize_after_token(template, heads), suffixes, full_ids, turns, strict=True
    ):
        suffix = suffix_ids[key]
        answer = full[len(suffix) :]
        if full[: len(suffix)] != suffix:  # a token spans both: at inference, the prompt is alone
            (answer,) = _tokenize_after_token(template, [(turn.end_of_turn, turn.answer)])
        end_id = template.tokenizer.convert_tokens_to_ids(turn.end_of_turn)
        encoded.append((head + suffix, [*answer, end_id]))
    return encoded


def encode_texts(template: ChatTemplate, texts: Sequence[str]) -> list[list[int]]:
    """Return token ids of plain texts, with one BOS if the tokenizer adds it, and one EOS.

    Args:
        template: A chat template, whose tokenizer is used.
        texts: Plain texts.

    Returns:
        Token ids per text.
    """
    bos, eos = template.tokenizer.bos_token_id, template.tokenizer.eos_token_id
    eos = detect_turn_format(template).end_of_turn_id if eos is None else eos
    encoded = []
    for ids in _tokenize(template, texts, add_special_tokens=True):
        body = [*ids, eos] if ids[-1:] != [eos] else ids
        first = 1 if bos is not None and body[:2] == [bos, bos] else 0
        last = len(body) - (body[-2:] == [eos, eos])
        encoded.append(body[first:last])
    return encoded


def _tokenize(
    template: ChatTemplate, texts: Sequence[str], *, add_special_tokens: bool = False
) -> list[list[int]]:
    control_tokens = template.control_tokens
    if not any(map(control_tokens.has_escaped, texts)):
        return _tokenize_plainly(template.tokenizer, texts, add_special_tokens)
    return [
        control_tokens.encode([text], add_special_tokens)[0]
        if control_tokens.has_escaped(text)
        else _tokenize_plainly(template.tokenizer, [text], add_special_tokens)[0]
        for text in texts
    ]


def _tokenize_plainly(
    tokenizer: Any, texts: Sequence[str], add_special_tokens: bool
) -> list[list[int]]:
    if not texts:
        return []
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        ids: list[list[int]] = tokenizer(list(texts), add_special_tokens=add_special_tokens)[
            "input_ids"
        ]
        return ids
    # the same ids in two thirds of the time, since token offsets are not computed
    backend.no_truncation()
    backend.no_padding()
    encoded = backend.encode_batch_fast(list(texts), add_special_tokens=add_special_tokens)
    return [encoding.ids for encoding in encoded]


def _tokenize_after_token(
    template: ChatTemplate, texts: Sequence[tuple[str, str]]
) -> list[list[int]]:
    """Return the ids of texts that follow a special token, or start a sequence ("").

    Some tokenizers mark the first word of a text; here most texts are continuations.
    """
    encoded = _tokenize(template, [token + text for token, text in texts])
    first = {token: template.tokenizer.convert_tokens_to_ids(token) for token, _ in texts if token}
    return [
        ids[1:] if token and ids[:1] == [first[token]] else ids
        for (token, _), ids in zip(texts, encoded, strict=True)
    ]


def find_completion_start(labels: Sequence[int]) -> int:
    """Return the position of a row's last answer: after its last ignored label, at least 1.

    Nothing predicts the first token of plain text, so it counts as the prompt.
    """
    ignored = [i for i, label in enumerate(labels) if label == IGNORE_INDEX]
    return max(1, ignored[-1] + 1 if ignored else 0)
