"""Client of the Python package index: archives are downloaded and verified, never executed."""

import dataclasses
from collections.abc import Iterator, Mapping
from email.parser import HeaderParser
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from packaging.utils import canonicalize_version
from pypi_simple import (
    DigestMismatchError,
    DistributionPackage,
    NoDigestsError,
    NoSuchProjectError,
    PyPISimple,
    UnsupportedContentTypeError,
)

from blossomtune import pip_settings
from blossomtune.data.sources import archives
from blossomtune.data.sources.retry import UnreachableError, call_with_retries
from blossomtune.errors import UserError, find_closest_match

_TRANSIENT_ERRORS = (
    requests.ConnectionError,
    requests.Timeout,
    requests.HTTPError,
    requests.exceptions.ChunkedEncodingError,  # the download broke off
)
_TIMEOUT = 60  # seconds without a byte


def download_archive(source: Mapping[str, Any], folder: Path) -> Path:
    """Download the archive of a ``kind: pypi`` source and verify its checksum.

    The checksum is ``sha256`` of the source or, if that is None, the one the index publishes.

    Args:
        source: a source block with ``package``, ``version``, ``distribution`` and ``sha256``.
        folder: the folder to write to.

    Returns:
        The archive.

    Raises:
        UserError: if the index cannot be reached, has no such archive, or the checksum differs.
    """
    misses = []
    for client in _iterate_clients():
        with client:
            index = client.endpoint
            try:
                return _download_from_index(client, source, folder)
            except _NotInIndexError as error:
                misses.append(str(error))
            except UnreachableError as error:
                raise UserError(
                    f"{source['package']} {source['version']} cannot be fetched: "
                    f"the package index {_get_host(index)} cannot be reached ({error})",
                    "check the network and `pip config list`; PIP_INDEX_URL names another index",
                ) from error
            except (requests.HTTPError, UnsupportedContentTypeError) as error:
                raise UserError(
                    f"the package index {_get_host(index)} does not serve {source['package']}: "
                    f"{type(error).__name__}",
                    "check `pip config list`; PIP_INDEX_URL names another index",
                ) from error
    raise UserError("; ".join(misses), "check package, version and distribution")


def get_archive_size(source: Mapping[str, Any]) -> int | None:
    """Return the bytes of the archive of a ``kind: pypi`` source, None if no index tells them."""
    for client in _iterate_clients():
        with client:
            try:
                package = _select_distribution(client, source)
                if package.size is not None:
                    return int(package.size)
                answer = client.s.head(package.url, timeout=_TIMEOUT, allow_redirects=True)
                answer.raise_for_status()
                return int(answer.headers["Content-Length"])
            except (
                _NotInIndexError,
                UnreachableError,
                UnsupportedContentTypeError,
                requests.RequestException,
                KeyError,
            ):
                continue
    return None


def _iterate_clients() -> Iterator[PyPISimple]:
    """Yield a client of each of pip's indexes."""
    settings = pip_settings.read_pip_settings()
    session = requests.Session()
    if "cert" in settings:
        session.verify = settings["cert"]
    for index in pip_settings.list_index_urls(settings):
        yield PyPISimple(endpoint=index, session=session)


class _NotInIndexError(Exception):
    """The index does not have the archive; another index may."""


def _get_host(index: str) -> str:
    """Return the index's host only: its URL may contain a password."""
    return urlsplit(index).hostname or "?"


def _download_from_index(client: PyPISimple, source: Mapping[str, Any], folder: Path) -> Path:
    package = _select_distribution(client, source)
    if source["sha256"]:
        package = dataclasses.replace(package, digests={"sha256": source["sha256"]})
    path: Path = folder / package.filename
    print(f"fetching {package.filename} from {_get_host(client.endpoint)}", flush=True)
    try:
        call_with_retries(
            lambda: client.download_package(package, path, timeout=_TIMEOUT), _TRANSIENT_ERRORS
        )
    except NoDigestsError:
        raise UserError(
            f"the index gives no checksum of {package.filename}", "set sha256 in the source"
        ) from None
    except DigestMismatchError as error:
        expected = "source.sha256" if source["sha256"] else "the index"
        raise UserError(
            f"{package.filename}: wrong checksum; {error.algorithm} by {expected} "
            f"{error.expected_digest}, downloaded {error.actual_digest}",
            "run again if the download was cut short; else sha256 is not that of this version",
        ) from None
    return path


def _select_distribution(client: PyPISimple, source: Mapping[str, Any]) -> DistributionPackage:
    """Return the archive of this package, version and distribution."""
    name, version, kind = source["package"], source["version"], source["distribution"]
    try:
        page = call_with_retries(
            lambda: client.get_project_page(name, timeout=_TIMEOUT), _TRANSIENT_ERRORS
        )
    except NoSuchProjectError:
        raise _NotInIndexError(f"{_get_host(client.endpoint)} has no package {name!r}") from None
    of_kind = [p for p in page.packages if p.package_type == kind and p.version]
    canonical = canonicalize_version(version)
    matches = [p for p in of_kind if canonicalize_version(p.version or "") == canonical]
    if not matches:
        versions = list(dict.fromkeys(p.version or "" for p in of_kind))
        near = find_closest_match(version, versions)
        raise _NotInIndexError(
            f"{_get_host(client.endpoint)} has no {kind} of {name} {version}; "
            + (f"did you mean {near}? " if near and near != version else "")
            + f"versions with a {kind}: {', '.join(versions[-8:]) or 'none'}"
        )
    # platform-independent wheels first: every machine uses the same archive
    return min(matches, key=lambda p: ("-none-any." not in p.filename, p.filename))


def read_licence(archive: Path) -> str | None:
    """Return the licence in a wheel's or sdist's metadata, or None."""
    for pattern in ("*.dist-info/METADATA", "*/PKG-INFO"):
        for _, content in archives.iter_matching_files(archive, pattern):
            fields = HeaderParser().parsestr(content.read().decode("utf-8", "replace"))
            names = map(_parse_licence_name, (fields["License-Expression"], fields["License"]))
            return next(filter(None, names), None)
    return None


def _parse_licence_name(text: str | None) -> str | None:
    """Return the text if it is one line; some packages include the whole licence."""
    return text.strip() if text and text.strip() and "\n" not in text.strip() else None
