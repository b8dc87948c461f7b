"""Download of files by URL, with a checksum."""

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
    """Download the file of a ``kind: url`` source and verify its checksum.

    Args:
        source: a source block with ``url`` and ``sha256``.
        folder: the folder to create ``download/`` in.

    Returns:
        The file, named as in the URL.

    Raises:
        UserError: if it cannot be downloaded, or the checksum differs. User, password and query of
            the URL are not shown.
    """
    parts = urlsplit(source["url"])
    display_url = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    path = folder / "download" / _get_file_name(parts.path)
    path.parent.mkdir()
    print(f"fetching {display_url}", flush=True)
    try:
        checksum = call_with_retries(
            lambda: _stream_to_file(source["url"], path), _TRANSIENT_ERRORS
        )
    except UnreachableError as error:
        raise UserError(
            f"{display_url} cannot be fetched: {parts.hostname} cannot be reached ({error})",
            "check source.url and the network",
        ) from None
    except requests.HTTPError as error:
        status = error.response.status_code
        raise UserError(
            f"{display_url} cannot be fetched: HTTP status {status}", _HINTS_BY_STATUS.get(status)
        ) from None
    except (requests.RequestException, UnicodeError) as error:
        raise UserError(
            f"{display_url} cannot be fetched: {type(error).__name__}", "check source.url"
        ) from None
    if checksum != source["sha256"]:
        raise UserError(
            f"{path.name}: wrong checksum; sha256 by source.sha256 {source['sha256']}, "
            f"downloaded {checksum}",
            "look at what is there now: only if it is what you want, take its checksum",
        )
    return path


def get_file_size(source: Mapping[str, Any]) -> int | None:
    """Return the bytes of the file of a ``kind: url`` source, None if the server does not tell."""
    try:
        answer = requests.head(source["url"], timeout=_TIMEOUT, allow_redirects=True)
        answer.raise_for_status()
        return int(answer.headers["Content-Length"])
    except (requests.RequestException, UnicodeError, KeyError):
        return None


def _get_file_name(url_path: str) -> str:
    name = PurePosixPath(unquote(url_path)).name.replace("\0", "")
    return name if name not in ("", ".", "..") else "download"


def _stream_to_file(url: str, path: Path) -> str:
    """Write the response's raw bytes to a file and return their SHA-256."""
    digest = hashlib.sha256()
    # compression for transfer would change the checksum
    headers = {"Accept-Encoding": "identity"}
    with (
        requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response,
        path.open("wb") as file,
    ):
        response.raise_for_status()
        for chunk in response.raw.stream(_CHUNK_SIZE, decode_content=False):
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest()
