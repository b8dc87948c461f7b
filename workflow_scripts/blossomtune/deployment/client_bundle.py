"""Write the files that each client of engine ``external`` is sent."""

import logging
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from blossomtune.artifacts.dataset_manifest import DatasetManifest, DatasetSummary
from blossomtune.artifacts.files import read_artifact
from blossomtune.artifacts.provenance import Provenance
from blossomtune.deployment.bundle_checks import check_settings
from blossomtune.deployment.keys import KeyStore
from blossomtune.files import expand_home, write_json, write_private_file
from blossomtune.package_versions import get_package_versions
from blossomtune.version import __version__

BUNDLE_FILE, CA_CERTIFICATE_FILE, SUPERNODE_KEY_FILE = "invitation.json", "ca.crt", "supernode.key"
"""Files of the folder that a client is sent."""

SUPERNODE_ARGUMENTS_FILE = Path("work/supernode.json")
"""File that the client's preparation adds: name and arguments of the SuperNode's process."""

logger = logging.getLogger(__name__)


class BaseModelSource(BaseModel):
    """Source of the base model and SHA-256 digests of its files.

    Attributes:
        name: Name of the model.
        config: The model's block of the configuration.
        files: Digests by file name.
    """

    name: str
    config: dict[str, Any]
    files: dict[str, str]


class ClientBundle(BaseModel):
    """Configuration of a client, without secrets.

    Attributes:
        client: Name of the client.
        superlink: Address of the SuperLink as ``host:port``.
        version: Version of this package on the server.
        packages: Versions of the server's packages, by name.
        model: The base model.
        federate: The stage's configuration.
        partition: The stage's configuration.
        preprocessing: The stage's configuration.
        dataset: Data set whose columns the client's rows must have.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    client: str
    superlink: str
    version: str
    packages: dict[str, str]
    model: BaseModelSource
    federate: dict[str, Any]
    partition: dict[str, Any]
    preprocessing: dict[str, Any]
    dataset: DatasetSummary


def write_client_bundles(
    config: dict[str, Any], model: Path, dataset: Path, experiment: str
) -> None:
    """Create missing keys, and write one folder per client beside them.

    Args:
        config: Result of ``blossomtune.config.stage_inputs.invite``.
        model: Directory of the base model.
        dataset: Directory of the data set.
        experiment: Name of the experiment.

    Raises:
        UserError: If clients would refuse a setting.
    """
    engine = config["federate"]["federation"]["engine"]
    names = config["partition"]["clients"]
    keys = KeyStore(expand_home(engine["keys"]))
    keys.create_missing([engine["host"]], names)
    manifest = read_artifact(dataset / "manifest.json", DatasetManifest)
    summary = manifest.model_dump(include=set(DatasetSummary.model_fields))
    provenance = read_artifact(model / "provenance.json", Provenance)
    source = BaseModelSource(name=model.name, config=config["model"], files=provenance.files)
    for name in names:
        bundle = ClientBundle(
            client=name,
            superlink=f"{engine['host']}:{engine['port']}",
            version=__version__,
            packages=get_package_versions(),
            model=source,
            dataset=DatasetSummary(**summary),
            **{key: config[key] for key in ("federate", "partition", "preprocessing")},
        )
        check_settings(bundle.model_dump(), name, bundle.superlink)  # as the client will
        folder = keys.folder / "invitations" / experiment / name
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_json(folder / BUNDLE_FILE, bundle.model_dump(mode="json"))
        write_private_file(folder / CA_CERTIFICATE_FILE, keys.ca_certificate.read_bytes())
        key = keys.supernode_key(name)
        if key.exists():  # else the client created it and has sent its public key only
            write_private_file(folder / SUPERNODE_KEY_FILE, key.read_bytes())
        logger.info("for %s: %s", name, folder)


def replace_client_key(key_dir: Path, client: str) -> None:
    """Give a client another key, also in the folders that it is sent.

    Args:
        key_dir: Folder of the keys.
        client: Name of the client.
    """
    keys = KeyStore(key_dir)
    keys.replace_supernode_key(client)
    for folder in _find_client_folders(key_dir, client):
        file = folder / SUPERNODE_KEY_FILE
        write_private_file(file, keys.supernode_key(client).read_bytes())
        logger.info("for %s: %s", client, file)


def revoke_client_key(key_dir: Path, client: str) -> None:
    """Remove a client's key, also from the folders that it is sent.

    Args:
        key_dir: Folder of the keys.
        client: Name of the client.
    """
    KeyStore(key_dir).revoke_supernode_key(client)
    for folder in _find_client_folders(key_dir, client):
        (folder / SUPERNODE_KEY_FILE).unlink(missing_ok=True)
    logger.info("the key of %s is revoked; remove the name from `clients` for later runs", client)


def _find_client_folders(key_dir: Path, client: str) -> list[Path]:
    return sorted(path for path in key_dir.glob("invitations/*/*") if path.name == client)
