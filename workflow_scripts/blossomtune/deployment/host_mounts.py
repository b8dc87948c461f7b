"""Select the host's files and settings that a container needs beside the working directory."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from blossomtune import pip_settings

CERTIFICATE_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""Variables that name a file of certificate authorities; containers inherit them."""


def container_environment(
    environment: Mapping[str, str], local_paths: Iterable[str]
) -> dict[str, str]:
    """Return variables that give containers the files and settings that stages need.

    These are files and folders of local sources, pip's settings, which may be in files that a
    container does not have, and the certificates that either of them names.

    Args:
        environment: Snakemake's environment.
        local_paths: Files and folders, absolute or relative to the working directory.

    Returns:
        ``APPTAINER_BIND``, extended, and ``PIP_*``.
    """
    settings = pip_settings.read_pip_settings()
    values = [part for value in settings.values() for part in value.split()]
    values += [environment[name] for name in CERTIFICATE_VARIABLES if name in environment]
    paths = {str(path) for value in values if (path := find_local_path(value))}
    paths |= {
        str(Path(path).expanduser().absolute()) for path in local_paths if Path(path).exists()
    }
    binds = [environment["APPTAINER_BIND"]] if environment.get("APPTAINER_BIND") else []
    variables = {f"PIP_{key.replace('-', '_').upper()}": value for key, value in settings.items()}
    return {**variables, "APPTAINER_BIND": ",".join([*binds, *sorted(paths)])}


def find_local_path(setting: str) -> Path | None:
    """Return the existing file or folder that a part of pip's settings names, or None."""
    path = Path(setting.removeprefix("file://"))
    return path if path.is_absolute() and path.exists() else None


def strip_container_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without variables that add variables or mounts to a container."""
    prefixes = ("APPTAINERENV_", "SINGULARITYENV_")
    binds = {
        f"{p}_{b}" for p in ("APPTAINER", "SINGULARITY") for b in ("BIND", "BINDPATH", "MOUNT")
    }
    return {
        key: value
        for key, value in environment.items()
        if key not in binds and not key.startswith(prefixes)
    }
