"""Read pip's settings, so that the workflow and its image use the same package indexes."""

import ast
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from blossomtune.files import write_private_file

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
    return parse_pip_config_list(_run_pip_config_list())


def write_pip_config(path: Path) -> bool:
    """Write the settings of pip's configuration files to one file, readable for its owner alone.

    Settings of ``PIP_*`` variables are left out, since processes inherit them.

    Args:
        path: File to write, in pip's format.

    Returns:
        True if there are such settings. Without any, no file is written.
    """
    settings = parse_pip_config_list(_run_pip_config_list(), sections=("global", "install"))
    if settings:
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = ["[global]"]
        lines += [f"{key} = {' '.join(value.split())}" for key, value in settings.items()]
        write_private_file(path, ("\n".join(lines) + "\n").encode())
    return bool(settings)


def _run_pip_config_list() -> str:
    command = [sys.executable, "-m", "pip", "config", "list"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout  # noqa: S603


def parse_pip_config_list(
    output: str, sections: Sequence[str] = ("global", "install", ":env:")
) -> dict[str, str]:
    """Parse the output of ``pip config list``: one ``section.key='value'`` per line.

    Args:
        output: Printed lines.
        sections: Sections to read, in the order of pip's precedence: later ones win. By default,
            variables override the section ``install``, which overrides ``global``.

    Returns:
        Values of ``SETTING_KEYS``, as far as they are set.
    """
    values: dict[tuple[str, str], str] = {}
    for line in output.splitlines():
        name, separator, value = line.partition("=")
        section, _, key = name.rpartition(".")
        if separator and value[:1] in ("'", '"'):
            values[section, key] = str(ast.literal_eval(value))
    settings = {}
    for key in SETTING_KEYS:
        for section in sections:
            if (section, key) in values:
                settings[key] = values[section, key]
    return settings


def list_index_urls(settings: dict[str, str]) -> list[str]:
    """Return the URLs of pip's package indexes, in pip's order.

    Indexes that are not served by HTTP (``file://``) are left out.
    """
    urls = [settings.get("index-url", DEFAULT_INDEX), *settings.get("extra-index-url", "").split()]
    return [url for url in urls if url.startswith("http")]
