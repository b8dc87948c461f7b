"""From rendered text to token ids and labels: the one place where this happens."""

from collections.abc import Sequence
from typing import Any

from blossomtune.modeling.chat_template import detect_turn_format

IGNORE_INDEX = -100
"""Label of a token that the loss does not look at (PyTorch's ``ignore_index``)."""


def encode_example(tokenizer: Any, prompt: str, completion: str) -> tuple[list[int], list[int]]:
    """``encode_all`` for one example."""
    return encode_examples(tokenizer, [prompt], [completion])[0]


def encode_examples(
    tokenizer: Any, prompts: Sequence[str], completions: Sequence[str]
) -> list[tuple[list[int], list[int]]]:
    """Token ids and labels of examples.

    A prompt's ids are those that the model will see when it is asked, whatever follows; a
    completion's are what it should answer, ended by the template's end of turn. Special tokens
    come from the chat template alone, so there is never a second BOS.

    Args:
        tokenizer: a Hugging Face tokenizer with a chat template.
        prompts: what ``prompt_text`` returned, for each example.
        completions: the answers, without their end of turn.

    Returns:
        ``(input_ids, labels)`` of equal length for each; labels are ``IGNORED`` over the prompt.
    """
    pairs = list(zip(prompts, completions, strict=True))
    return [
        ([*asked, *answer], [IGNORE_INDEX] * len(asked) + answer)
        for asked, answer in encode_pairs(tokenizer, pairs, [False] * len(pairs))
    ]


def encode_pairs(
    tokenizer: Any, pairs: Sequence[tuple[str, str]], is_continuation: Sequence[bool]
) -> list[tuple[list[int], list[int]]]:
    """Token ids of prompts and answers, one after the other or parts of one conversation.

    Args:
        tokenizer: a Hugging Face tokenizer with a chat template.
        pairs: a prompt and its answer; in a conversation, the prompts after the first start where
            the answer before has ended.
        follows: of each pair, whether it comes after another pair's end of turn.

    Returns:
        The ids of the prompt, and those of the answer and its end.
    """
    how = detect_turn_format(tokenizer)
    heads, nears, wholes = [], [], []
    for (prompt, answer), later in zip(pairs, is_continuation, strict=True):
        start, cut = how.end_of_turn_token if later else "", 0
        if how.last_special_token and prompt.endswith(how.last_special_token + how.prompt_suffix):
            cut = len(prompt) - len(how.prompt_suffix)  # up to here, once; from here on, twice
        heads.append((start, prompt[:cut]))
        nears.append((how.last_special_token if cut else start, prompt[cut:]))
        wholes.append((nears[-1][0], prompt[cut:] + how.answer_prefix + answer + how.answer_suffix))

    different = list(dict.fromkeys(nears))  # most often one for all
    asked = dict(zip(different, _tokenize_after_token(tokenizer, different), strict=True))
    encoded = []
    for i, (head, whole) in enumerate(
        zip(
            _tokenize_after_token(tokenizer, heads),
            _tokenize_after_token(tokenizer, wholes),
            strict=True,
        )
    ):
        near = asked[nears[i]]
        if whole[: len(near)] == near:
            answer = whole[len(near) :]
        else:  # a token straddles the border: keep the border, it is there when asked, too
            alone = (how.end_of_turn_token, how.answer_prefix + pairs[i][1] + how.answer_suffix)
            answer = _tokenize_after_token(tokenizer, [alone])[0]
        encoded.append((head + near, [*answer, how.end_of_turn_id]))
    return encoded


def encode_texts(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of plain texts: BOS as the tokenizer itself sets it, EOS at the end; once each."""
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    eos = detect_turn_format(tokenizer).end_of_turn_id if eos is None else eos
    encoded = []
    for ids in _tokenize(tokenizer, texts, add_special_tokens=True):
        body = [*ids, eos] if ids[-1:] != [eos] else ids
        first = 1 if bos is not None and body[:2] == [bos, bos] else 0
        last = len(body) - (body[-2:] == [eos, eos])
        encoded.append(body[first:last])
    return encoded


def _tokenize(
    tokenizer: Any, texts: Sequence[str], *, add_special_tokens: bool = False
) -> list[list[int]]:
    if not texts:
        return []
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return tokenizer(list(texts), add_special_tokens=add_special_tokens)["input_ids"]
    # the same ids in two thirds of the time: nobody asks where in the text each token was
    backend.no_truncation()
    backend.no_padding()
    encoded = backend.encode_batch_fast(list(texts), add_special_tokens=add_special_tokens)
    return [encoding.ids for encoding in encoded]


def _tokenize_after_token(tokenizer: Any, texts: Sequence[tuple[str, str]]) -> list[list[int]]:
    """The ids of texts that stand after a special token, or at the beginning ("").

    Some tokenizers put a mark before the first word of a text: not here, in the middle of one.
    """
    encoded = _tokenize(tokenizer, [token + text for token, text in texts])
    first = {token: tokenizer.convert_tokens_to_ids(token) for token, _ in texts if token}
    return [
        ids[1:] if token and ids[:1] == [first[token]] else ids
        for (token, _), ids in zip(texts, encoded, strict=True)
    ]


def find_completion_start(labels: Sequence[int]) -> int:
    """Where a row's last answer starts: after its last ignored label, and never at 0.

    The first token of plain text is predicted by nothing, so it is what the rest follows.
    """
    ignored = [i for i, label in enumerate(labels) if label == IGNORE_INDEX]
    return max(1, ignored[-1] + 1 if ignored else 0)
