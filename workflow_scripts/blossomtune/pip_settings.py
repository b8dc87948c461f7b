"""Where the user's pip looks for packages, so that the workflow and its image look there too."""

import ast
import subprocess
import sys

DEFAULT_INDEX = "https://pypi.org/simple/"

SETTING_KEYS = (
    "index-url",
    "extra-index-url",
    "find-links",
    "no-index",
    "trusted-host",
    "proxy",
    "cert",
    "client-cert",
    "timeout",
    "default-timeout",
    "retries",
)
"""The settings of pip that say where packages come from and how they are reached."""


def read_pip_settings() -> dict[str, str]:
    """The settings of this interpreter's pip, from its files and ``PIP_*`` variables."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    return parse_pip_config_list(listed)


def parse_pip_config_list(output: str) -> dict[str, str]:
    """Reads what ``pip config list`` prints: a ``section.key='value'`` a line.

    Variables win over the section of a command, and that over the global one, as in pip.
    """
    found: dict[tuple[str, str], str] = {}
    for line in output.splitlines():
        name, separator, value = line.partition("=")
        section, _, key = name.rpartition(".")
        if separator and value[:1] in ("'", '"'):
            found[section, key] = str(ast.literal_eval(value))
    settings = {}
    for key in SETTING_KEYS:
        for section in ("global", "install", ":env:"):
            if (section, key) in found:
                settings[key] = found[section, key]
    return settings


def list_index_urls(settings: dict[str, str]) -> list[str]:
    """Addresses of simple APIs, the one to ask first first.

    Extra indexes that are folders (``file://``) speak no HTTP and are left out.
    """
    main = settings.get("index-url", DEFAULT_INDEX)
    every = [main, *settings.get("extra-index-url", "").split()]
    return [address for address in every if address.startswith("http")]
