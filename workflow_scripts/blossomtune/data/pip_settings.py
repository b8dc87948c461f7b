"""Where the user's pip looks for packages, so that the workflow looks there too."""

import ast
import subprocess
import sys
from dataclasses import dataclass

DEFAULT_INDEX = "https://pypi.org/simple/"


@dataclass(frozen=True)
class PipSettings:
    """What matters for fetching an archive.

    Attributes:
        indexes: simple-API addresses, the one to ask first first.
        certificates: file of certificate authorities, or None for the default ones.
    """

    indexes: list[str]
    certificates: str | None


def read() -> PipSettings:
    """The settings of this interpreter's pip: its files and ``PIP_*`` variables.

    Extra indexes that are folders (``file://``) speak no HTTP and are left out.
    """
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    return parse(listed)


def parse(listed: str) -> PipSettings:
    """Reads what ``pip config list`` prints: a ``section.key='value'`` a line."""
    values = {}
    for line in listed.splitlines():
        key, separator, value = line.partition("=")
        if separator and value[:1] in "'\"":
            values[key] = str(ast.literal_eval(value))

    def setting(name: str) -> str | None:
        # pip's own order: variables win over the command's section, that over the global one
        sections = (":env:", "download", "install", "global")
        return next((values[f"{s}.{name}"] for s in sections if f"{s}.{name}" in values), None)

    indexes = [setting("index-url") or DEFAULT_INDEX, *(setting("extra-index-url") or "").split()]
    return PipSettings([i for i in indexes if i.startswith("http")], setting("cert"))
