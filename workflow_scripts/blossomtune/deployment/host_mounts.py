"""Select the host's files and settings that a container needs beside the working directory."""

import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path

from blossomtune import pip_settings

CERTIFICATE_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""Variables that name a file of certificate authorities; containers inherit them."""


def apptainer_options(
    environment: Mapping[str, str], local_paths: Iterable[str], pip_config: Path
) -> list[str]:
    """Return options of ``apptainer exec`` that show a stage what it needs of this machine.

    Containers inherit environment variables and see the working directory. The options add local
    data, files that pip's settings and certificate variables name, and pip's configuration files.

    Args:
        environment: Environment variables of Snakemake.
        local_paths: Files and folders, relative to the working directory. Missing ones are ignored.
        pip_config: File to write the settings of pip's configuration files to.

    Returns:
        Options, quoted for a shell. They contain no setting of pip, which may be a secret.
    """
    settings = pip_settings.read_pip_settings()
    values = [part for value in settings.values() for part in value.split()]
    values += [environment[name] for name in CERTIFICATE_VARIABLES if name in environment]
    mounts = {str(path) for value in values if (path := find_local_path(value))}
    mounts |= {
        str(Path(path).expanduser().absolute()) for path in local_paths if Path(path).exists()
    }
    options = [f"--bind {shlex.quote(mount)}" for mount in sorted(mounts)]
    if pip_settings.write_pip_config(pip_config):
        options.append(f"--env {shlex.quote(f'PIP_CONFIG_FILE={pip_config.absolute()}')}")
    return options


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
