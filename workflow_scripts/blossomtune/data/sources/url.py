"""Files from an address, checked while they are downloaded."""

import hashlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import requests
import urllib3

from blossomtune.data.sources.retry import UnreachableError, call_with_retries
from blossomtune.errors import UserError

_CHUNK_SIZE = 1 << 20
_TIMEOUT = 60  # seconds without a byte
_TRANSIENT_ERRORS = (
    requests.ConnectionError,
    requests.Timeout,
    requests.HTTPError,
    urllib3.exceptions.HTTPError,  # the download broke off
)
_HINTS_BY_STATUS = {
    401: "an address that wants a password cannot be a source; download the file, kind: path",
    403: "the server does not let everybody have it",
    404: "check source.url; the file may have moved",
    410: "the file is gone for good",
}


def download_file(source: Mapping[str, Any], folder: Path) -> Path:
    """Downloads what a ``kind: url`` source names.

    Args:
        source: url and sha256.
        folder: where to put it, in a folder of its own.

    Returns:
        The file, under its name in the address, its checksum verified.

    Raises:
        UserError: where it cannot be had, or is not the file meant. What comes after a ``?`` in
            the address may be a secret and is not shown.
    """
    parts = urlsplit(source["url"])
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    path = folder / "download" / _get_file_name(parts.path)
    path.parent.mkdir()
    print(f"fetching {shown}", flush=True)
    try:
        found = call_with_retries(lambda: _stream_to_file(source["url"], path), _TRANSIENT_ERRORS)
    except UnreachableError as error:
        raise UserError(
            f"{shown} cannot be fetched: {parts.hostname} cannot be reached ({error})",
            "check source.url and the network",
        ) from None
    except requests.HTTPError as error:
        status = error.response.status_code
        raise UserError(
            f"{shown} cannot be fetched: HTTP status {status}", _HINTS_BY_STATUS.get(status)
        ) from None
    except (requests.RequestException, UnicodeError) as error:
        raise UserError(
            f"{shown} cannot be fetched: {type(error).__name__}", "check source.url"
        ) from None
    if found != source["sha256"]:
        raise UserError(
            f"{path.name}: wrong checksum; sha256 by source.sha256 {source['sha256']}, "
            f"downloaded {found}",
            "look at what is there now: only if it is what you want, take its checksum",
        )
    return path


def _get_file_name(url_path: str) -> str:
    name = PurePosixPath(unquote(url_path)).name.replace("\0", "")
    return name if name not in ("", ".", "..") else "download"


def _stream_to_file(url: str, path: Path) -> str:
    """Writes the bytes as they are sent, and returns their SHA-256."""
    digest = hashlib.sha256()
    # a server that packs the file for the journey would change its checksum
    headers = {"Accept-Encoding": "identity"}
    with (
        requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as answer,
        path.open("wb") as file,
    ):
        answer.raise_for_status()
        for chunk in answer.raw.stream(_CHUNK_SIZE, decode_content=False):
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest()
