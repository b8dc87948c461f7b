"""Encode rendered text as token ids and labels, for all stages."""

from collections.abc import Sequence
from typing import Any

from blossomtune.modeling.chat_template import detect_turn_format

IGNORE_INDEX = -100
"""Label of a token without loss (PyTorch's ``ignore_index``)."""

PAD_TOKEN_ID = 0
"""Id to pad with. Padding is masked, and a tokenizer's pad token may have no embedding."""


def encode_example(tokenizer: Any, prompt: str, completion: str) -> tuple[list[int], list[int]]:
    """Return ``encode_examples`` of one example.

    Args:
        tokenizer: A Hugging Face tokenizer with a chat template.
        prompt: Rendered prompt.
        completion: Answer, without its end of turn.

    Returns:
        ``(input_ids, labels)`` of equal length.
    """
    return encode_examples(tokenizer, [prompt], [completion])[0]


def encode_examples(
    tokenizer: Any, prompts: Sequence[str], completions: Sequence[str]
) -> list[tuple[list[int], list[int]]]:
    """Return token ids and labels of examples.

    A prompt has the same ids as at inference, whatever the completion. A completion ends with the
    template's end of turn. Special tokens come from the chat template alone: no second BOS.

    Args:
        tokenizer: A Hugging Face tokenizer with a chat template.
        prompts: Rendered prompts, from ``chat_template.render_prompts``.
        completions: Answers, without their end of turn.

    Returns:
        ``(input_ids, labels)`` of equal length per example; labels of a prompt are
        ``IGNORE_INDEX``.
    """
    pairs = list(zip(prompts, completions, strict=True))
    return [
        ([*prompt, *answer], [IGNORE_INDEX] * len(prompt) + answer)
        for prompt, answer in encode_pairs(tokenizer, pairs, [False] * len(pairs))
    ]


def encode_pairs(
    tokenizer: Any, pairs: Sequence[tuple[str, str]], is_continuation: Sequence[bool]
) -> list[tuple[list[int], list[int]]]:
    """Return token ids of prompts and answers.

    A prompt is split after its last special token. Only its suffix is tokenized twice: alone, and
    together with the answer.

    Args:
        tokenizer: A Hugging Face tokenizer with a chat template.
        pairs: Prompt and answer. In a conversation, each later prompt starts where the answer
            before it ends.
        is_continuation: Per pair, whether it follows another pair's end of turn.

    Returns:
        Per pair, the ids of the prompt, and those of the answer and its end of turn.
    """
    turn = detect_turn_format(tokenizer)
    answers = [turn.answer_prefix + answer + turn.answer_suffix for _, answer in pairs]
    heads, suffixes = [], []
    for (prompt, _), continues in zip(pairs, is_continuation, strict=True):
        start, split = turn.end_of_turn_token if continues else "", 0
        if turn.last_special_token and prompt.endswith(
            turn.last_special_token + turn.prompt_suffix
        ):
            split = len(prompt) - len(turn.prompt_suffix)
        heads.append((start, prompt[:split]))
        suffixes.append((turn.last_special_token if split else start, prompt[split:]))

    unique = list(dict.fromkeys(suffixes))  # most often one for all
    suffix_ids = dict(zip(unique, _tokenize_after_token(tokenizer, unique), strict=True))
    full_ids = _tokenize_after_token(
        tokenizer, [(token, text + a) for (token, text), a in zip(suffixes, answers, strict=True)]
    )
    encoded = []
    for head, key, full, answer in zip(
        _tokenize_after_token(tokenizer, heads), suffixes, full_ids, answers, strict=True
    ):
        suffix = suffix_ids[key]
        answer_ids = full[len(suffix) :]
        if full[: len(suffix)] != suffix:  # a token spans both: at inference, the prompt is alone
            (answer_ids,) = _tokenize_after_token(tokenizer, [(turn.end_of_turn_token, answer)])
        encoded.append((head + suffix, [*answer_ids, turn.end_of_turn_id]))
    return encoded


def encode_texts(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Return token ids of plain texts, with one BOS if the tokenizer adds it, and one EOS.

    Args:
        tokenizer: A Hugging Face tokenizer.
        texts: Plain texts.

    Returns:
        Token ids per text.
    """
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
        ids: list[list[int]] = tokenizer(list(texts), add_special_tokens=add_special_tokens)[
            "input_ids"
        ]
        return ids
    # the same ids in two thirds of the time, since token offsets are not computed
    backend.no_truncation()
    backend.no_padding()
    encoded = backend.encode_batch_fast(list(texts), add_special_tokens=add_special_tokens)
    return [encoding.ids for encoding in encoded]


def _tokenize_after_token(tokenizer: Any, texts: Sequence[tuple[str, str]]) -> list[list[int]]:
    """Return the ids of texts that follow a special token, or start a sequence ("").

    Some tokenizers mark the first word of a text; here most texts are continuations.
    """
    encoded = _tokenize(tokenizer, [token + text for token, text in texts])
    first = {token: tokenizer.convert_tokens_to_ids(token) for token, _ in texts if token}
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
