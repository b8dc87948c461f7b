"""llama.cpp's tokenizer, to compare ours with."""

import json
import urllib.request
from pathlib import Path

import xllamacpp


class LlamaCppTokenizer:
    """The tokenizer of a GGUF file in llama.cpp; its server runs until the object is deleted.

    Args:
        file: The GGUF file.
    """

    def __init__(self, file: Path) -> None:
        params = xllamacpp.CommonParams()
        params.model.path = str(file)
        params.n_ctx = 64
        params.n_parallel = 1
        params.n_gpu_layers = 0
        params.warmup = False
        params.verbosity = -1
        for cpu in (params.cpuparams, params.cpuparams_batch):
            cpu.n_threads = 1
            cpu.poll = 0  # idle threads would spin
        self._server = xllamacpp.Server(params)

    def encode(self, text: str | list[str]) -> list[int]:
        """Return the token ids of a text, or of texts, one after the other.

        Control tokens in texts are read as such.
        """
        content = {"content": text, "add_special": False, "parse_special": True}
        request = urllib.request.Request(
            f"{self._server.listening_address}/tokenize",
            json.dumps(content).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request) as reply:
            return json.load(reply)["tokens"]
