"""The Hugging Face hub: revisions resolved to commits, tokens from the environment only."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pyarrow as pa
from huggingface_hub import HfApi
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from blossomtune.data.network import UnreachableError, patiently
from blossomtune.errors import UserError

T = TypeVar("T")

# Weights as safetensors alone: other formats can run code when they are loaded.
_WANTED = ["*.safetensors", "*.json", "*.jinja", "*.txt", "*.model"]
_UNWANTED = ["*/*"]  # other formats and original checkpoints live in folders of their own


def model(source: Mapping[str, Any], folder: Path) -> tuple[str, str | None]:
    """Downloads a model's safetensors, configuration and tokenizer.

    Args:
        source: repo and revision.
        folder: where to put the files.

    Returns:
        The commit that the revision stands for, and the licence that the hub names or None.

    Raises:
        UserError: where the hub cannot be reached, or does not show the model.
    """
    repo = source["repo"]
    info = _ask(source, lambda: _api().model_info(repo, revision=source["revision"]))
    print(f"fetching {repo} at {info.sha}", flush=True)
    _explained(
        source,
        lambda: _api().snapshot_download(
            repo,
            revision=info.sha,
            local_dir=folder,
            allow_patterns=_WANTED,
            ignore_patterns=_UNWANTED,
        ),
    )
    return info.sha, _licence(info)


def dataset(source: Mapping[str, Any], scratch: Path) -> tuple[pa.Table, str, str | None]:
    """Downloads one split of a data set.

    Args:
        source: repo, revision, subset and split.
        scratch: folder for what is needed in between.

    Returns:
        Its rows, the commit that the revision stands for, and the licence or None.

    Raises:
        UserError: where the hub cannot be reached, or does not show such a split.
    """
    import datasets

    repo, name, split = source["repo"], source["subset"], source["split"]
    info = _ask(source, lambda: _api().dataset_info(repo, revision=source["revision"]))
    print(f"fetching {repo} at {info.sha}", flush=True)
    try:
        rows = _explained(
            source,
            lambda: datasets.load_dataset(
                repo,
                name,
                split=split,
                revision=info.sha,
                token=_token(),
                cache_dir=str(scratch),
            ),
        )
    except ValueError as error:  # how datasets says that subset or split are not there
        raise UserError(f"{repo}: {str(error).splitlines()[0]}") from None
    table = rows.with_format("arrow")[:].replace_schema_metadata(None)
    return table, info.sha, _licence(info)


def _api() -> HfApi:
    """The hub, with the environment's token or none: not one that happens to be saved here."""
    return HfApi(token=_token())


def _token() -> str | bool:
    return os.environ.get("HF_TOKEN") or False


def _licence(info: Any) -> str | None:
    return info.card_data.get("license") if info.card_data else None


def _ask(source: Mapping[str, Any], question: Callable[[], T]) -> T:
    """What the hub answers to a single request; downloads have a patience of their own."""
    transient = (httpx.TransportError, HfHubHTTPError)
    return _explained(source, lambda: patiently(question, transient))


def _explained(source: Mapping[str, Any], action: Callable[[], T]) -> T:
    """What the hub sends, or what a user can do about that it does not."""
    repo, revision = source["repo"], source["revision"]
    try:
        return action()
    except GatedRepoError:
        raise UserError(
            f"{repo} is gated: its owner decides who may have it",
            f"accept its terms at https://huggingface.co/{repo} and set HF_TOKEN",
        ) from None
    except RevisionNotFoundError:
        raise UserError(
            f"source.revision: {repo} has no revision {revision!r}", "name a commit, tag or branch"
        ) from None
    except RepositoryNotFoundError:
        raise UserError(
            f"source.repo: the hub shows no {repo!r}",
            "check the name; private repositories need HF_TOKEN in the environment",
        ) from None
    except (
        UnreachableError,
        httpx.TransportError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
    ) as error:
        reason = str(error) if isinstance(error, UnreachableError) else type(error).__name__
        raise UserError(
            f"{repo} cannot be fetched: the Hugging Face hub cannot be reached ({reason})",
            "check the network and HF_ENDPOINT; kind: path takes a folder that is already here",
        ) from error
    except OfflineModeIsEnabled:
        raise UserError(
            f"{repo} is on the hub, but HF_HUB_OFFLINE is set",
            "unset it, or use kind: path with a folder that is already here",
        ) from None
