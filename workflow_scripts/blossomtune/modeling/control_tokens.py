"""Find control tokens in the text of rows, and tokenize them as plain characters.

A text that holds ``<|im_end|>`` would end its turn. In the mode ``text``, such a token is escaped
before the chat template is rendered, by a private character. So the template's own tokens can be
told apart, and the row's characters are tokenized like any others.
"""

import json
import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from blossomtune.errors import UserError

# the end of Unicode's last private plane: escaped tokens of rows, names of the template's tokens
_ESCAPED, _RENAMED = 0x108000, 0x10C000
_PRIVATE = re.compile("[\U00108000-\U0010ffff]")


class ControlTokens:
    """The special tokens of a tokenizer.

    Args:
        tokenizer: A Hugging Face tokenizer.
        escape: Whether control tokens of rows become plain characters.
    """

    def __init__(self, tokenizer: Any, escape: bool = False) -> None:
        self._tokenizer, self._escapes = tokenizer, escape
        added = tokenizer.added_tokens_decoder.values()
        self._tokens = sorted({t.content for t in added if t.special and t.content.strip()})
        longest_first = sorted(self._tokens, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")

    def find(self, text: str) -> list[str]:
        """Return the control tokens in a text, each once, in order."""
        return list(dict.fromkeys(self._pattern.findall(text)))

    def remove(self, text: str) -> str:
        """Return a text without control tokens."""
        return self._pattern.sub("", text)

    def find_trailing(self, text: str) -> str | None:
        """Return the control token that a text ends with, or None."""
        matches = [token for token in self._tokens if text.endswith(token)]
        return max(matches, key=len, default=None)

    def escape(self, text: str) -> str:
        """Replace control tokens by private characters, if this is asked for.

        Args:
            text: Text of a row.

        Returns:
            The text, to be rendered and then tokenized by ``encode``.

        Raises:
            UserError: If the text holds such private characters itself.
        """
        if not self._escapes:
            return text
        if private := _PRIVATE.search(text):
            raise UserError(
                f"the text holds the private character U+{ord(private[0]):X}, which "
                "control_tokens: text needs for itself",
                "remove it from the data, or set control_tokens: error",
            )
        return self._pattern.sub(lambda m: chr(_ESCAPED + self._tokens.index(m[0])), text)

    def unescape(self, text: str) -> str:
        """Return the characters that ``escape`` replaced."""
        if not self.has_escaped(text):
            return text
        return _PRIVATE.sub(self._restore, text)

    def has_escaped(self, text: str) -> bool:
        """Return whether a text holds escaped control tokens."""
        return self._escapes and not text.isascii() and bool(_PRIVATE.search(text))

    def encode(self, texts: Sequence[str], add_special_tokens: bool) -> list[list[int]]:
        """Tokenize rendered texts, escaped tokens as plain characters.

        Args:
            texts: Rendered texts with escaped control tokens.
            add_special_tokens: Whether the tokenizer adds its BOS and EOS.

        Returns:
            Token ids per text.
        """
        names = self._names
        renamed = [
            _PRIVATE.sub(self._restore, self._pattern.sub(lambda m: names[m[0]], text))
            for text in texts
        ]
        encoded = self._renamed_tokenizer.encode_batch_fast(
            renamed, add_special_tokens=add_special_tokens
        )
        return [encoding.ids for encoding in encoded]

    def _restore(self, match: re.Match[str]) -> str:
        """Return the token that a private character stands for; names of tokens stay."""
        index = ord(match[0]) - _ESCAPED
        return match[0] if index >= _RENAMED - _ESCAPED else self._tokens[index]

    @cached_property
    def _names(self) -> dict[str, str]:
        return {token: chr(_RENAMED + i) for i, token in enumerate(self._tokens)}

    @cached_property
    def _renamed_tokenizer(self) -> Any:
        """The tokenizer with private names of its control tokens, and the same ids."""
        from tokenizers import Tokenizer

        backend = getattr(self._tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise UserError(
                "control_tokens: text needs a tokenizer of the tokenizers library",
                "control_tokens: error refuses such rows",
            )
        state = json.loads(backend.to_str())
        state["truncation"] = state["padding"] = None
        names = self._names
        for token in state["added_tokens"]:
            token["content"] = names.get(token["content"], token["content"])
        model = state["model"]
        vocabulary = model["vocab"]
        if isinstance(vocabulary, dict):
            model["vocab"] = {names.get(token, token): i for token, i in vocabulary.items()}
        else:  # Unigram: pairs of token and score
            model["vocab"] = [[names.get(token, token), *rest] for token, *rest in vocabulary]
        if model.get("unk_token") in names:
            model["unk_token"] = names[model["unk_token"]]
        return Tokenizer.from_str(json.dumps(state, ensure_ascii=False))
