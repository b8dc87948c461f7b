"""From rendered text to token ids and labels: the one place where this happens."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from blossomtune.chat import manner, prompt_texts
from blossomtune.errors import UserError

IGNORED = -100
"""Label of a token that the loss does not look at (PyTorch's ``ignore_index``)."""


def load_tokenizer(directory: Path) -> Any:
    """The tokenizer of a model directory; code that comes with a model is never run.

    Raises:
        UserError: where it has no chat template.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(
        directory, local_files_only=True, trust_remote_code=False
    )
    if not tokenizer.chat_template:
        raise UserError(
            "the model has no chat template, so there is no right way to write a prompt for it",
            "choose an instruction-tuned model, or add chat_template.jinja to the model's folder",
        )
    return tokenizer


def pad_id(tokenizer: Any) -> int:
    """The id to pad with; it is masked, so where a model names none, any will do."""
    return 0 if tokenizer.pad_token_id is None else tokenizer.pad_token_id


def prompt_text(tokenizer: Any, prompt: str, system: str | None = None) -> str:
    """A conversation up to where the model answers, as the model's own chat template writes it.

    Args:
        tokenizer: a Hugging Face tokenizer with a chat template.
        prompt: the user's turn.
        system: a system turn before it, or None.

    Raises:
        UserError: where the template refuses such turns, as Gemma's does a system turn.
    """
    turns = [{"role": "system", "content": system}] if system is not None else []
    return prompt_texts(tokenizer, [[*turns, {"role": "user", "content": prompt}]])[0]


def end_of_turn(tokenizer: Any) -> int:
    """The id of the token with which the model ends its turn.

    Chat templates decide this, not ``eos_token`` alone: Gemma's turns end with
    ``<end_of_turn>``, while its EOS is ``<eos>``.

    Raises:
        UserError: where neither the template nor the tokenizer names one.
    """
    return manner(tokenizer).end


def encode(tokenizer: Any, prompt: str, completion: str) -> tuple[list[int], list[int]]:
    """``encode_all`` for one example."""
    return encode_all(tokenizer, [prompt], [completion])[0]


def encode_all(
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
        ([*asked, *answer], [IGNORED] * len(asked) + answer)
        for asked, answer in encode_pairs(tokenizer, pairs, [False] * len(pairs))
    ]


def encode_pairs(
    tokenizer: Any, pairs: Sequence[tuple[str, str]], follows: Sequence[bool]
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
    how = manner(tokenizer)
    heads, nears, wholes = [], [], []
    for (prompt, answer), later in zip(pairs, follows, strict=True):
        start, cut = how.end_text if later else "", 0
        if how.mark and prompt.endswith(how.mark + how.rest):
            cut = len(prompt) - len(how.rest)  # up to here, once; from here on, twice
        heads.append((start, prompt[:cut]))
        nears.append((how.mark if cut else start, prompt[cut:]))
        wholes.append((nears[-1][0], prompt[cut:] + how.lead + answer + how.tail))

    different = list(dict.fromkeys(nears))  # most often one for all
    asked = dict(zip(different, _ids_after(tokenizer, different), strict=True))
    encoded = []
    for i, (head, whole) in enumerate(
        zip(_ids_after(tokenizer, heads), _ids_after(tokenizer, wholes), strict=True)
    ):
        near = asked[nears[i]]
        if whole[: len(near)] == near:
            answer = whole[len(near) :]
        else:  # a token straddles the border: keep the border, it is there when asked, too
            alone = (how.end_text, how.lead + pairs[i][1] + how.tail)
            answer = _ids_after(tokenizer, [alone])[0]
        encoded.append((head + near, [*answer, how.end]))
    return encoded


def encode_texts(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of plain texts: BOS as the tokenizer itself sets it, EOS at the end; once each."""
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    eos = manner(tokenizer).end if eos is None else eos
    encoded = []
    for ids in _ids(tokenizer, texts, special=True):
        body = [*ids, eos] if ids[-1:] != [eos] else ids
        first = 1 if bos is not None and body[:2] == [bos, bos] else 0
        last = len(body) - (body[-2:] == [eos, eos])
        encoded.append(body[first:last])
    return encoded


def _ids(tokenizer: Any, texts: Sequence[str], *, special: bool = False) -> list[list[int]]:
    if not texts:
        return []
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return tokenizer(list(texts), add_special_tokens=special)["input_ids"]
    # the same ids in two thirds of the time: nobody asks where in the text each token was
    backend.no_truncation()
    backend.no_padding()
    encoded = backend.encode_batch_fast(list(texts), add_special_tokens=special)
    return [encoding.ids for encoding in encoded]


def _ids_after(tokenizer: Any, texts: Sequence[tuple[str, str]]) -> list[list[int]]:
    """The ids of texts that stand after a special token, or at the beginning ("").

    Some tokenizers put a mark before the first word of a text: not here, in the middle of one.
    """
    encoded = _ids(tokenizer, [token + text for token, text in texts])
    first = {token: tokenizer.convert_tokens_to_ids(token) for token, _ in texts if token}
    return [
        ids[1:] if token and ids[:1] == [first[token]] else ids
        for (token, _), ids in zip(texts, encoded, strict=True)
    ]


def answer_start(labels: Sequence[int]) -> int:
    """Where a row's last answer starts: after its last ignored label, and never at 0.

    The first token of plain text is predicted by nothing, so it is what the rest follows.
    """
    ignored = [i for i, label in enumerate(labels) if label == IGNORED]
    return max(1, ignored[-1] + 1 if ignored else 0)
