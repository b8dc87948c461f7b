"""Read pip's settings, so that the workflow and its image use the same package indexes."""

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
"""Settings of pip that select package indexes and how to reach them."""


def read_pip_settings() -> dict[str, str]:
    """Return the settings of this interpreter's pip, from its files and ``PIP_*`` variables."""
    output = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    return parse_pip_config_list(output)


def parse_pip_config_list(output: str) -> dict[str, str]:
    """Parse the output of ``pip config list``: one ``section.key='value'`` per line.

    As in pip, variables override the section ``install``, which overrides ``global``.
    """
    values: dict[tuple[str, str], str] = {}
    for line in output.splitlines():
        name, separator, value = line.partition("=")
        section, _, key = name.rpartition(".")
        if separator and value[:1] in ("'", '"'):
            values[section, key] = str(ast.literal_eval(value))
    settings = {}
    for key in SETTING_KEYS:
        for section in ("global", "install", ":env:"):
            if (section, key) in values:
                settings[key] = values[section, key]
    return settings


def list_index_urls(settings: dict[str, str]) -> list[str]:
    """Return the URLs of pip's package indexes, in pip's order.

    Indexes that are not served by HTTP (``file://``) are left out.
    """
    urls = [settings.get("index-url", DEFAULT_INDEX), *settings.get("extra-index-url", "").split()]
    return [url for url in urls if url.startswith("http")]
