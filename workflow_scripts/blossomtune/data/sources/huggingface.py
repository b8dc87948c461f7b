"""Client of the Hugging Face hub: models, revisions as commits, errors as UserError."""

import fnmatch
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

# safetensors only: other weight formats can run code when they are loaded
_ALLOW_PATTERNS = ["*.safetensors", "*.json", "*.jinja", "*.txt", "*.model"]
_IGNORE_PATTERNS = ["*/*"]  # subfolders contain other formats and original checkpoints


def download_model(source: Mapping[str, Any], folder: Path) -> tuple[str, str | None]:
    """Download a model's safetensors, configuration and tokenizer.

    Args:
        source: a source block with ``repo`` and ``revision``.
        folder: the folder to write the files to.

    Returns:
        The commit of the revision, and the licence that the hub names or None.

    Raises:
        UserError: if the hub cannot be reached or does not provide the model.
    """
    repo = source["repo"]
    info = call_api(source, lambda: get_api().model_info(repo, revision=source["revision"]))
    commit, licence = get_commit_and_licence(info)
    print(f"fetching {repo} at {commit}", flush=True)
    with convert_hub_errors(source):
        get_api().snapshot_download(
            repo,
            revision=commit,
            local_dir=folder,
            allow_patterns=_ALLOW_PATTERNS,
            ignore_patterns=_IGNORE_PATTERNS,
        )
    return commit, licence


def get_repository_size(source: Mapping[str, Any]) -> int | None:
    """Return the bytes of a repository's files, None if the hub does not tell.

    Args:
        source: a source block with ``repo`` and ``revision``; that of a data set has ``split``.

    Returns:
        Bytes of all files that ``download_model`` fetches, or of all files of a data set.
    """
    is_dataset = "split" in source
    get_info = get_api().dataset_info if is_dataset else get_api().model_info
    try:
        info = get_info(source["repo"], revision=source["revision"], files_metadata=True)
    except (httpx.TransportError, HfHubHTTPError, OfflineModeIsEnabled):
        return None
    sizes = {file.rfilename: file.size for file in info.siblings or ()}
    if not is_dataset:
        sizes = {name: size for name, size in sizes.items() if _is_model_file(name)}
    known = [size for size in sizes.values() if size is not None]
    return sum(known) if len(known) == len(sizes) else None


def _is_model_file(name: str) -> bool:
    """Return whether ``download_model`` fetches a file."""
    allowed, ignored = (
        any(fnmatch.fnmatch(name, pattern) for pattern in patterns)
        for patterns in (_ALLOW_PATTERNS, _IGNORE_PATTERNS)
    )
    return allowed and not ignored


def get_api() -> HfApi:
    """Return a hub client with the environment's token; tokens saved on disk are not used."""
    return HfApi(token=get_token())


def get_token() -> str | bool:
    """Return the environment's token, or False for no authentication."""
    return os.environ.get("HF_TOKEN") or False


def get_commit_and_licence(info: Any) -> tuple[str, str | None]:
    """Return commit and licence of the hub's ModelInfo or DatasetInfo."""
    licence = info.card_data.get("license") if info.card_data else None
    return info.sha, ", ".join(licence) if isinstance(licence, list) else licence


def call_api(source: Mapping[str, Any], request: Callable[[], T]) -> T:
    """Send a single request to the hub, with retries; downloads retry by themselves.

    Args:
        source: the source block that the request is for.
        request: the request; it must be safe to repeat.

    Returns:
        The value that ``request`` returned.

    Raises:
        UserError: if the hub cannot be reached or refuses the request.
    """
    with convert_hub_errors(source):
        return call_with_retries(request, (httpx.TransportError, HfHubHTTPError))


@contextmanager
def convert_hub_errors(source: Mapping[str, Any]) -> Iterator[None]:
    """Convert the hub client's errors to UserError.

    Args:
        source: the source block that is fetched.

    Yields:
        Nothing; the context's errors are converted.

    Raises:
        UserError: in place of the client's errors, with what the user can do.
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
