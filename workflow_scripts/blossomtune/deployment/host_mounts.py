"""What a container sees of its host beside the working directory."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from blossomtune import pip_settings

CERTIFICATE_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""Variables that name a file of certificate authorities; containers inherit them."""


def container_environment(
    environment: Mapping[str, str], local_paths: Iterable[str]
) -> dict[str, str]:
    """Variables that show containers what the stages need of this machine.

    That is the files and folders that local sources name, pip's settings, which may stand in
    files that a container does not have, and the certificates that either of them names.

    Args:
        environment: the environment that Snakemake has.
        paths: files and folders, relative ones to the working directory.

    Returns:
        ``APPTAINER_BIND``, with what the user has set there, and ``PIP_*``.
    """
    settings = pip_settings.read_pip_settings()
    words = [word for value in settings.values() for word in value.split()]
    words += [environment[name] for name in CERTIFICATE_VARIABLES if name in environment]
    found = {str(path) for word in words if (path := find_local_path(word))}
    found |= {
        str(Path(path).expanduser().absolute()) for path in local_paths if Path(path).exists()
    }
    binds = [environment["APPTAINER_BIND"]] if environment.get("APPTAINER_BIND") else []
    variables = {f"PIP_{key.replace('-', '_').upper()}": value for key, value in settings.items()}
    return {**variables, "APPTAINER_BIND": ",".join([*binds, *sorted(found)])}


def find_local_path(setting: str) -> Path | None:
    """The file or folder that a word of pip's settings names, or None where it names none."""
    path = Path(setting.removeprefix("file://"))
    return path if path.is_absolute() and path.exists() else None


def strip_container_settings(environment: Mapping[str, str]) -> dict[str, str]:
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
