"""Collect what a preview shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from blossomtune.artifacts.files import read_artifact
from blossomtune.artifacts.partition_manifest import PartitionManifest
from blossomtune.artifacts.tokenized_manifest import TokenCounts, TokenizedManifest
from blossomtune.modeling.tokenizer import load_tokenizer
from blossomtune.reporting.preview.examples import Example, ExampleFile
from blossomtune.reporting.preview.select_rows import select_rows
from blossomtune.reporting.preview.tokens import Token, split_tokens
from blossomtune.seeds import derive_seed

MAX_CLIENTS = 25
"""Clients with rows on the page; of more clients, as many are spread over their numbers."""

MAX_TOKENS = 200_000
"""Tokens on the page, so that phones can open it."""


@dataclass(frozen=True)
class PreviewRow:
    """An example, token by token.

    Attributes:
        name: Its place in the file.
        reason: Reason for showing it; empty if it was drawn.
        num_tokens: Number of its token ids.
        num_learnt: Number of those that contribute to the loss.
        first: The first tokens; all of a row that is not too long.
        num_hidden: Number of token ids between ``first`` and ``last``.
        num_hidden_learnt: Number of those that contribute to the loss.
        last: The last tokens of a long row.
        texts: Names and texts of a held-out row: prompt, completion, other right completions.
    """

    name: str
    reason: str
    num_tokens: int
    num_learnt: int
    first: Sequence[Token]
    num_hidden: int
    num_hidden_learnt: int
    last: Sequence[Token]
    texts: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class PreviewFile:
    """Selected rows of one file.

    Attributes:
        name: Name of the client, and of its split if it holds rows out.
        is_held_out: Whether the rows are for evaluation.
        counts: Counts of the whole file.
        rows: The selected rows.
    """

    name: str
    is_held_out: bool
    counts: TokenCounts
    rows: Sequence[PreviewRow]


@dataclass(frozen=True)
class Preview:
    """Content of a preview.

    Attributes:
        names: Names of the blocks: ``partition``, ``preprocessing`` and ``model``.
        seed: Seed of the configuration, from which rows are drawn.
        manifest: The tokenized manifest.
        external_clients: Names of clients whose rows are elsewhere.
        files: Selected rows per file: clients, then rows for evaluation.
    """

    names: dict[str, str]
    seed: int
    manifest: TokenizedManifest
    external_clients: Sequence[str]
    files: Sequence[PreviewFile]

    @property
    def num_shown_clients(self) -> int:
        """Number of clients with rows in the preview."""
        return sum(not file.is_held_out for file in self.files)


def build_preview(config: dict[str, Any], model: Path, partition: Path, folder: Path) -> Preview:
    """Select rows of all files and split them into tokens.

    Args:
        config: ``seed``, and the blocks' names ``partition``, ``preprocessing`` and ``model``.
        model: Directory with the tokenizer.
        partition: Directory with the partition's manifest.
        folder: Directory of the preprocess stage.

    Returns:
        The content of the page.

    Raises:
        UserError: If a file is missing or damaged.
    """
    manifest = read_artifact(folder / "manifest.json", TokenizedManifest)
    clients = read_artifact(partition / "manifest.json", PartitionManifest)
    files = list(_list_files(manifest, clients.client_names))
    examples = [(*file, _read_examples(folder / file[0], config["seed"])) for file in files]
    num_rows = sum(len(rows) for *_, rows in examples)
    max_tokens = MAX_TOKENS // max(1, num_rows)
    tokenizer = load_tokenizer(model)
    local = set(clients.local_clients)
    return Preview(
        names={key: config[key] for key in ("partition", "preprocessing", "model")},
        seed=config["seed"],
        manifest=manifest,
        external_clients=[c.name for c in clients.clients if c.client not in local],
        files=[
            PreviewFile(
                name,
                is_held_out,
                counts,
                [build_row(tokenizer, example, reason, max_tokens) for example, reason in rows],
            )
            for _, name, is_held_out, counts, rows in examples
        ],
    )


def build_row(tokenizer: Any, example: Example, reason: str, max_tokens: int) -> PreviewRow:
    """Split an example into tokens, and leave out the middle of a long one.

    Args:
        tokenizer: A Hugging Face tokenizer.
        example: The example.
        reason: Reason for showing it.
        max_tokens: Number of tokens to show.

    Returns:
        The row.
    """
    tokens = list(split_tokens(tokenizer, example.ids, example.is_learnt))
    first, hidden, last = tokens, list[Token](), list[Token]()
    if len(tokens) > max_tokens:
        half = max_tokens // 2
        first, hidden, last = tokens[:half], tokens[half:-half], tokens[-half:]
    return PreviewRow(
        name=example.name,
        reason=reason,
        num_tokens=len(example.ids),
        num_learnt=sum(example.is_learnt),
        first=first,
        num_hidden=sum(len(token.ids) for token in hidden),
        num_hidden_learnt=sum(len(token.ids) for token in hidden if token.is_learnt),
        last=last,
        texts=example.texts,
    )


def _list_files(
    manifest: TokenizedManifest, names: Sequence[str]
) -> list[tuple[str, str, bool, TokenCounts]]:
    """Return file name, title, whether rows are held out, and counts of each file to show."""
    clients = manifest.clients
    if len(clients) > MAX_CLIENTS:
        positions = np.linspace(0, len(clients) - 1, MAX_CLIENTS).round().astype(int)
        clients = [clients[i] for i in positions]
    files: list[tuple[str, str, bool, TokenCounts]] = [
        (f"client_{c.client}.arrow", names[c.client], False, c) for c in clients
    ]
    if manifest.test:
        files.append(("test.arrow", "common test", True, manifest.test))
    shown = {c.client for c in clients}
    for c in manifest.held_out:
        for split, counts in (("validation", c.validation), ("test", c.test)):
            if counts and c.client in shown:
                title = f"{names[c.client]}, own {split}"
                files.append((f"client_{c.client}.{split}.arrow", title, True, counts))
    return files


def _read_examples(path: Path, seed: int) -> list[tuple[Example, str]]:
    """Return the selected examples of a file, each with the reason for showing it."""
    file = ExampleFile(path)
    selected = select_rows(
        file.num_tokens, file.num_learnt, derive_seed(seed, "preview", path.name)
    )
    return [(file[position], reason) for position, reason in selected.items()]
