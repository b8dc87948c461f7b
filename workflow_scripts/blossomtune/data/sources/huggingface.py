"""The Hugging Face hub: revisions resolved to commits, tokens from the environment only.

Models are fetched here, data sets in ``hub_rows``.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
from huggingface_hub import HfApi
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from blossomtune.data.sources.retry import UnreachableError, call_with_retries
from blossomtune.errors import UserError

T = TypeVar("T")

# Weights as safetensors alone: other formats can run code when they are loaded.
_ALLOW_PATTERNS = ["*.safetensors", "*.json", "*.jinja", "*.txt", "*.model"]
_IGNORE_PATTERNS = ["*/*"]  # other formats and original checkpoints live in folders of their own


def download_model(source: Mapping[str, Any], folder: Path) -> tuple[str, str | None]:
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
    info = call_api(source, lambda: get_api().model_info(repo, revision=source["revision"]))
    print(f"fetching {repo} at {info.sha}", flush=True)
    with convert_hub_errors(source):
        get_api().snapshot_download(
            repo,
            revision=info.sha,
            local_dir=folder,
            allow_patterns=_ALLOW_PATTERNS,
            ignore_patterns=_IGNORE_PATTERNS,
        )
    return info.sha, get_license(info)


def get_api() -> HfApi:
    """The hub, with the environment's token or none: not one that happens to be saved here."""
    return HfApi(token=get_token())


def get_token() -> str | bool:
    """The environment's token; False stands for none at all."""
    return os.environ.get("HF_TOKEN") or False


def get_license(info: Any) -> str | None:
    """The licence that the hub names, or None."""
    named = info.card_data.get("license") if info.card_data else None
    return ", ".join(named) if isinstance(named, list) else named


def call_api(source: Mapping[str, Any], request: Callable[[], T]) -> T:
    """What the hub answers to a single request; downloads have a patience of their own."""
    with convert_hub_errors(source):
        return call_with_retries(request, (httpx.TransportError, HfHubHTTPError))


@contextmanager
def convert_hub_errors(source: Mapping[str, Any]) -> Iterator[None]:
    """Says what a user can do about it that the hub does not send something.

    Raises:
        UserError: in place of the client's own errors.
    """
    repo, revision = source["repo"], source["revision"]
    page = f"datasets/{repo}" if "split" in source else repo
    try:
        yield
    except GatedRepoError:
        raise UserError(
            f"{repo} is gated: its owner decides who may have it",
            f"accept its terms at https://huggingface.co/{page} and set HF_TOKEN",
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
    except OfflineModeIsEnabled:
        raise UserError(
            f"{repo} is on the hub, but HF_HUB_OFFLINE is set",
            "unset it, or use kind: path with a folder that is already here",
        ) from None
    except (
        UnreachableError,
        httpx.TransportError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        ConnectionError,
    ) as error:
        reason = str(error) if isinstance(error, UnreachableError) else type(error).__name__
        raise UserError(
            f"{repo} cannot be fetched: the Hugging Face hub cannot be reached ({reason})",
            "check the network and HF_ENDPOINT; kind: path takes a folder that is already here",
        ) from error
