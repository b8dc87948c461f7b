"""Push an adapter or a merged model to the Hugging Face hub, with its model card."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import (
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)

from blossomtune.errors import UserError

CARD_FILE = "README.md"


@dataclass(frozen=True)
class Upload:
    """Files for a repository.

    Attributes:
        repo: ``owner/name`` of a model on the hub.
        revision: Branch to commit to.
        private: Whether the repository may be seen by its owner only.
        files: Path or content by name in the repository.
    """

    repo: str
    revision: str
    private: bool
    files: dict[str, Path | bytes]

    def describe(self) -> str:
        """Return repository, visibility, and names and sizes of all files."""
        sizes = {
            name: len(file) if isinstance(file, bytes) else file.stat().st_size
            for name, file in self.files.items()
        }
        visibility = "private" if self.private else "public"
        title = f"{self.repo}, branch {self.revision}, {visibility}: {len(sizes)} files"
        total = f"{sum(sizes.values()) / 1e6:.1f} MB in all"
        return "\n".join(
            [title, *(f"  {name}: {size} bytes" for name, size in sizes.items()), total]
        )


def collect_upload(settings: Mapping[str, Any], folder: Path, card: str) -> Upload:
    """Return the files of a folder and their card as an upload.

    Args:
        settings: Block ``publish``.
        folder: Directory of the adapter or the merged model.
        card: Text of the model card.

    Returns:
        The upload, files in the order of their names.
    """
    files: dict[str, Path | bytes] = {
        path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()
    }
    files[CARD_FILE] = card.encode()
    return Upload(
        settings["repo"], settings["revision"], settings["private"], dict(sorted(files.items()))
    )


def push(upload: Upload) -> str | None:
    """Commit an upload to the hub, with the environment's token.

    Args:
        upload: The upload.

    Returns:
        Address of the commit, or None if the repository has the same files already.

    Raises:
        UserError: If there is no token, the repository is public against the setting, or the hub
            refuses the upload.
    """
    token = os.environ.get("HF_TOKEN")
    if not token:
        raise UserError(
            "publish needs a token of the Hugging Face hub, and HF_TOKEN is not set",
            "create a token with write permission at https://huggingface.co/settings/tokens",
        )
    api = HfApi(token=token)
    with _convert_errors(upload.repo):
        _create_repository(api, upload)
        head = api.model_info(upload.repo, revision=upload.revision).sha
        operations = [
            CommitOperationAdd(name, file if isinstance(file, bytes) else str(file))
            for name, file in upload.files.items()
        ]
        commit = api.create_commit(
            upload.repo, operations, commit_message="Upload the result", revision=upload.revision
        )
    return None if commit.oid == head else str(commit.commit_url)


def _create_repository(api: HfApi, upload: Upload) -> None:
    """Create repository and branch if they do not exist."""
    try:
        is_private = api.model_info(upload.repo).private
    except RepositoryNotFoundError:
        api.create_repo(upload.repo, private=upload.private)
    else:
        if upload.private and not is_private:
            raise UserError(
                f"publish.private: {upload.repo} is public, and private: true is asked for",
                "set private: false, name another repository, or change its visibility on the hub",
            )
    if upload.revision != "main":
        api.create_branch(upload.repo, branch=upload.revision, exist_ok=True)


@contextmanager
def _convert_errors(repo: str) -> Iterator[None]:
    """Convert the hub client's errors to UserError."""
    try:
        yield
    except OfflineModeIsEnabled:
        raise UserError("publish needs the hub, and HF_HUB_OFFLINE is set", "unset it") from None
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status == 401:
            raise UserError(
                "the hub does not accept the token in HF_TOKEN",
                "it may have expired; create one at https://huggingface.co/settings/tokens",
            ) from None
        if status == 403:
            raise UserError(
                f"the token in HF_TOKEN may not write to {repo}",
                "publish.repo: is the owner right? The token needs write permission for it",
            ) from None
        raise UserError(
            f"the hub refuses the upload to {repo}: {error.server_message or error}"
        ) from None
    except (httpx.TransportError, ConnectionError) as error:
        raise UserError(
            f"the Hugging Face hub cannot be reached ({type(error).__name__})",
            "check the network and HF_ENDPOINT",
        ) from None
