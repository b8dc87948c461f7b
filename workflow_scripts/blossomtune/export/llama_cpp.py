"""Run a GGUF file in llama.cpp, to compare its tokens and answers with those of transformers."""

import json
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import xllamacpp

from blossomtune.errors import UserError


class LlamaCpp:
    """A GGUF file in llama.cpp on one CPU thread; its server runs until the object is deleted.

    Args:
        file: The GGUF file.
        adapter: GGUF file of an adapter to apply, or None.
        context_length: Maximum number of tokens of prompt and answer.

    Raises:
        UserError: If llama.cpp cannot load the file.
    """

    def __init__(self, file: Path, adapter: Path | None = None, context_length: int = 64) -> None:
        params = xllamacpp.CommonParams()
        params.model.path = str(file)
        if adapter is not None:
            params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(adapter), 1.0)]
        params.n_ctx = context_length
        params.n_parallel = 1
        params.n_gpu_layers = 0
        params.warmup = False
        params.verbosity = -1
        for cpu in (params.cpuparams, params.cpuparams_batch):
            cpu.n_threads = 1
            cpu.poll = 0  # idle threads would spin
        try:
            self._server = xllamacpp.Server(params)
        except RuntimeError:
            raise UserError(f"llama.cpp cannot load {file}") from None

    def encode(self, text: str | Sequence[str], *, add_special: bool = False) -> list[int]:
        """Return the token ids of a text, or of texts, one after the other.

        Control tokens in texts are read as such.

        Args:
            text: A text or texts.
            add_special: Add BOS and EOS where the file says so, as for a chat.

        Returns:
            Token ids.
        """
        content = {"content": text, "add_special": add_special, "parse_special": True}
        tokens: list[int] = self._post("tokenize", content)["tokens"]
        return tokens

    def answer(self, prompt: Sequence[int], max_new_tokens: int) -> list[int]:
        """Continue a prompt greedily.

        Args:
            prompt: Token ids.
            max_new_tokens: Maximum number of tokens of the answer.

        Returns:
            Token ids of the answer, with the token that ends it if there is one.
        """
        content = {"prompt": list(prompt), "n_predict": max_new_tokens, "temperature": 0}
        tokens: list[int] = self._post("completion", content | {"return_tokens": True})["tokens"]
        return tokens

    def _post(self, path: str, content: Any) -> Any:
        """Return the server's reply; it listens on the loopback address."""
        request = urllib.request.Request(  # noqa: S310 - http
            f"{self._server.listening_address}/{path}",
            json.dumps(content).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request) as reply:  # noqa: S310
            return json.load(reply)
