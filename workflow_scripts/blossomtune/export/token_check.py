"""Compare llama.cpp's tokens of held-out prompts with those of training."""

from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import Any

from blossomtune.errors import UserError
from blossomtune.export.llama_cpp import LlamaCpp

_BATCH_SIZE = 500


def adds_bos(llama: LlamaCpp) -> bool:
    """Return whether llama.cpp adds BOS to the prompt of a chat."""
    return bool(llama.encode("", add_special=True))


def check_tokens(llama: LlamaCpp, tokenizer: Any, prompts: Sequence[str], file_name: str) -> None:
    """Raise UserError if llama.cpp tokenizes a prompt otherwise than the tokenizer of training.

    GGUF files name their pre-tokenizer, which llama.cpp has code of its own for.

    Args:
        llama: The GGUF file in llama.cpp.
        tokenizer: The Hugging Face tokenizer of the merged model.
        prompts: Rendered prompts, with BOS where the chat template writes it.
        file_name: Name of the GGUF file, for the message.

    Raises:
        UserError: If tokens differ; it names the first one.
    """
    for start in range(0, len(prompts), _BATCH_SIZE):
        batch = list(prompts[start : start + _BATCH_SIZE])
        expected = tokenizer(batch, add_special_tokens=False)["input_ids"]
        if llama.encode(batch) == list(chain.from_iterable(expected)):
            continue
        for row, (prompt, ids) in enumerate(zip(batch, expected, strict=True), start):
            _compare(tokenizer, ids, llama.encode(prompt), f"{file_name}: held-out row {row}")
    _check_bos(llama, tokenizer, prompts[0], file_name)


def _check_bos(llama: LlamaCpp, tokenizer: Any, prompt: str, file_name: str) -> None:
    """Compare the start of a chat: llama.cpp removes the template's BOS where it adds its own."""
    text = prompt.removeprefix(tokenizer.bos_token or "") if adds_bos(llama) else prompt
    expected = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    _compare(tokenizer, expected, llama.encode(text, add_special=True), f"{file_name}: a chat")


def _compare(tokenizer: Any, expected: list[int], ids: list[int], where: str) -> None:
    for i, (wanted, got) in enumerate(zip_longest(expected, ids)):
        if wanted != got:
            wanted_text, got_text = (
                "nothing" if token is None else repr(tokenizer.decode([token]))
                for token in (wanted, got)
            )
            raise UserError(
                f"{where} has other tokens in llama.cpp than in training: token {i} is {got_text} "
                f"({got}), and was {wanted_text} ({wanted})",
                "llama.cpp does not have this model's tokenizer; leave `gguf` out, and serve "
                "merged/ by vLLM or `transformers serve`",
            )
