"""Compare the package versions of server and clients, before anything is trained."""

import logging
import re
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from flwr.app import ConfigRecord, RecordDict

from blossomtune.errors import abbreviate
from blossomtune.federation.messages.records import VERSIONS_RECORD
from blossomtune.package_versions import get_package_versions
from blossomtune.version import __version__

logger = logging.getLogger(__name__)

PACKAGE = "blossomtune"

_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+!_-]{0,39}")


@cache  # a server compares those of thousands of clients
def get_versions() -> Mapping[str, str]:
    """Return the versions of this package and of those that it trains with."""
    return MappingProxyType({PACKAGE: __version__, **get_package_versions()})


def encode_versions() -> ConfigRecord:
    """Encode the versions of this process for the reply to a query."""
    return ConfigRecord({**get_versions()})


def decode_versions(content: RecordDict) -> dict[str, str]:
    """Decode and validate the versions in a client's reply to a query.

    Args:
        content: Content of the message.

    Returns:
        Versions by package.

    Raises:
        ValueError: If there are none, or those of other packages, or a text is no version.
    """
    record = content.config_records.get(VERSIONS_RECORD)
    if record is None:
        raise ValueError(f"a node does not say which version of {PACKAGE} it has")
    if record.keys() != get_versions().keys():
        raise ValueError(f"a node says versions of {abbreviate(sorted(record))}")
    versions: dict[str, str] = {}
    for name, value in record.items():
        if not isinstance(value, str) or not is_version(value):
            raise ValueError(f"a node says that its version of {name} is {abbreviate(value)}")
        versions[name] = value
    return versions


def is_version(text: str) -> bool:
    """Return whether a text is a version that a message may show."""
    return _VERSION.fullmatch(text) is not None


def get_wheel_name(version: str) -> str:
    """Return the file name of this package's wheel."""
    return f"{PACKAGE}-{version}-py3-none-any.whl"


def check_client_versions(content: RecordDict, client: int) -> None:
    """Refuse a client with another version of this package; warn about other packages.

    Args:
        content: Content of the client's reply to a query.
        client: The client's number.

    Raises:
        ValueError: If the client has another version of this package, or says none.
    """
    versions = decode_versions(content)
    if versions[PACKAGE] != __version__:
        raise ValueError(
            f"client {client} has {PACKAGE} {versions[PACKAGE]}, and the server has {__version__}; "
            f"install {get_wheel_name(__version__)} at the client"
        )
    for name, version in get_versions().items():
        if strip_build(versions[name]) != strip_build(version):
            logger.warning(
                "client %d has %s %s, and the server has %s: its results may differ in the last "
                "bits",
                *(client, name, versions[name], version),
            )


def strip_build(version: str) -> str:
    """Return a version without the name of its build, such as ``+cpu``."""
    return version.partition("+")[0]
