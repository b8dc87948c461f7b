"""What a container sees of its host beside the working directory."""

import ast
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

PIP_KEYS = (
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

CERTIFICATES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""Variables that name a file of certificate authorities; containers inherit them."""


def shared(environment: Mapping[str, str], paths: Iterable[str]) -> dict[str, str]:
    """Variables that show containers what the stages need of this machine.

    That is the files and folders that local sources name, pip's settings, which may stand in
    files that a container does not have, and the certificates that either of them names.

    Args:
        environment: the environment that Snakemake has.
        paths: files and folders, relative ones to the working directory.

    Returns:
        ``APPTAINER_BIND``, with what the user has set there, and ``PIP_*``.
    """
    settings = pip_settings()
    words = [word for value in settings.values() for word in value.split()]
    words += [environment[name] for name in CERTIFICATES if name in environment]
    found = {str(path) for word in words if (path := local_path(word))}
    found |= {str(Path(path).expanduser().absolute()) for path in paths if Path(path).exists()}
    binds = [environment["APPTAINER_BIND"]] if environment.get("APPTAINER_BIND") else []
    variables = {f"PIP_{key.replace('-', '_').upper()}": value for key, value in settings.items()}
    return {**variables, "APPTAINER_BIND": ",".join([*binds, *sorted(found)])}


def pip_settings() -> dict[str, str]:
    """The host's pip settings of ``PIP_KEYS``, from its files and ``PIP_*`` variables."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    return parse(listed)


def parse(listed: str) -> dict[str, str]:
    """Reads what ``pip config list`` prints: a ``section.key='value'`` a line.

    Variables win over the section of a command, and that over the global one, as in pip.
    """
    found: dict[tuple[str, str], str] = {}
    for line in listed.splitlines():
        name, separator, value = line.partition("=")
        section, _, key = name.rpartition(".")
        if separator and value[:1] in ("'", '"'):
            found[section, key] = str(ast.literal_eval(value))
    settings = {}
    for key in PIP_KEYS:
        for section in ("global", "install", ":env:"):
            if (section, key) in found:
                settings[key] = found[section, key]
    return settings


def local_path(word: str) -> Path | None:
    """The file or folder that a word of pip's settings names, or None where it names none."""
    path = Path(word.removeprefix("file://"))
    return path if path.is_absolute() and path.exists() else None


def without_container_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment without what would add variables or mounts to a container."""
    prefixes = ("APPTAINERENV_", "SINGULARITYENV_")
    binds = {
        f"{p}_{b}" for p in ("APPTAINER", "SINGULARITY") for b in ("BIND", "BINDPATH", "MOUNT")
    }
    return {
        key: value
        for key, value in environment.items()
        if key not in binds and not key.startswith(prefixes)
    }
