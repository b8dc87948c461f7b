"""Split token ids into readable tokens."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

_REPLACEMENT = "\ufffd"
"""Character that decoders write for bytes that are no whole character."""

_MAX_CHARACTER_BYTES = 4


class Token(NamedTuple):
    """A token, or several tokens that make up one character.

    Attributes:
        ids: The token ids.
        text: Their text; a name such as ``id 29871`` if they have none.
        is_learnt: Whether they contribute to the loss.
        is_control: Whether it is a token of its own in the tokenizer, such as ``<|im_end|>``.
    """

    ids: tuple[int, ...]
    text: str
    is_learnt: bool
    is_control: bool


def find_control_ids(tokenizer: Any) -> frozenset[int]:
    """Return the ids of special tokens and of other tokens that are matched as a whole.

    White space that a tokenizer adds as tokens, such as Gemma's runs of newlines, is text.
    """
    added = tokenizer.added_tokens_decoder.items()
    return frozenset(i for i, token in added if token.content.strip())


def split_tokens(tokenizer: Any, ids: Sequence[int], is_learnt: Sequence[bool]) -> Iterator[Token]:
    """Split token ids into tokens with text.

    A token's text is what it adds to the text of the token before it, since some decoders drop
    the space before the first word. Tokens that each have some bytes of a character are joined.

    Args:
        tokenizer: A Hugging Face tokenizer.
        ids: Token ids of an example.
        is_learnt: Per id, whether it contributes to the loss.

    Yields:
        Tokens in order; their ids join to ``ids``.
    """
    control_ids = find_control_ids(tokenizer)
    context = 0  # start of the token before
    for first, last in _find_segments(ids, is_learnt, control_ids):
        start = first
        for end in range(first + 1, last + 1):
            text = _decode(tokenizer, ids[context:end])
            is_whole = not text.endswith(_REPLACEMENT) or _is_whole(
                tokenizer, ids, (context, end, last), text
            )
            if not is_whole and end < last:
                continue
            before = _decode(tokenizer, ids[context:start])
            piece = text[len(before) :] if text.startswith(before) else ""
            token_ids = tuple(ids[start:end])
            piece = piece or _decode(tokenizer, token_ids) or f"id {' '.join(map(str, token_ids))}"
            yield Token(token_ids, piece, bool(is_learnt[first]), ids[first] in control_ids)
            context = start if is_whole else end
            start = end


def _find_segments(
    ids: Sequence[int], is_learnt: Sequence[bool], control_ids: frozenset[int]
) -> Iterator[tuple[int, int]]:
    """Yield start and end of each control token, and of runs of text that are learnt or not."""
    start = 0
    for i in range(1, len(ids) + 1):
        if (
            i == len(ids)
            or is_learnt[i] != is_learnt[start]
            or not control_ids.isdisjoint((ids[i - 1], ids[i]))
        ):
            yield start, i
            start = i


def _is_whole(tokenizer: Any, ids: Sequence[int], span: tuple[int, int, int], text: str) -> bool:
    """Return whether the tokens that follow add to a text that ends in ``_REPLACEMENT``.

    They replace its end if it is the start of a character, and add to it if the row has this very
    character, or bytes that are no character.

    Args:
        tokenizer: A Hugging Face tokenizer.
        ids: Token ids of an example.
        span: Start and end of the text's ids, and the last end to look at.
        text: Text of the ids.

    Returns:
        False if the last character is not complete.
    """
    context, end, last = span
    ends = range(end + 1, min(end + _MAX_CHARACTER_BYTES, last + 1))
    longer = (_decode(tokenizer, ids[context:e]) for e in ends)
    return all(t.startswith(text) and t != text for t in longer)


def _decode(tokenizer: Any, ids: Sequence[int]) -> str:
    text: str = tokenizer.decode(
        list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False
    )
    return text
