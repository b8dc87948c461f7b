"""What a client of engine ``external`` is sent."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from blossomtune.artifacts.dataset_manifest import DatasetManifest, DatasetSummary
from blossomtune.artifacts.files import read_artifact
from blossomtune.artifacts.provenance import Provenance
from blossomtune.deployment.keys import KeyStore
from blossomtune.files import write_json, write_private_file
from blossomtune.package_versions import get_package_versions

BUNDLE_FILE, CA_CERTIFICATE_FILE, SUPERNODE_KEY_FILE = "invitation.json", "ca.crt", "supernode.key"
"""The files of the folder that a client is sent."""


class BaseModelSource(BaseModel):
    """The base model: the block that says where it is from, and the digests of its files."""

    name: str
    config: dict[str, Any]
    files: dict[str, str]


class ClientBundle(BaseModel):
    """Everything that a client has to know of an experiment; no secret is in it.

    Attributes:
        client: its name.
        superlink: ``host:port``.
        packages: versions that the server trains with, by name.
        federate, partition, preprocessing: what these stages are told.
        dataset: of the manifest of the data set whose columns the client's rows need.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    client: str
    superlink: str
    packages: dict[str, str]
    model: BaseModelSource
    federate: dict[str, Any]
    partition: dict[str, Any]
    preprocessing: dict[str, Any]
    dataset: DatasetSummary


def write_client_bundles(
    config: dict[str, Any], model: Path, dataset: Path, experiment: str
) -> None:
    """Writes a folder for each client beside the keys, of which it makes those that are missing.

    Args:
        config: what ``blossomtune.config.stage_inputs.invite`` returned.
        model: the base model's directory.
        dataset: the data set's directory.
        experiment: its name, after which the folder of these folders is called.

    Raises:
        UserError: where a key does not do.
    """
    engine = config["federate"]["federation"]["engine"]
    names = config["partition"]["clients"]
    keys = KeyStore(Path(engine["keys"]))
    keys.create_missing([engine["host"]], names)
    manifest = read_artifact(dataset / "manifest.json", DatasetManifest)
    summary = manifest.model_dump(include=set(DatasetSummary.model_fields))
    provenance = read_artifact(model / "provenance.json", Provenance)
    for name in names:
        invitation = ClientBundle(
            client=name,
            superlink=f"{engine['host']}:{engine['port']}",
            packages=get_package_versions(),
            model=BaseModelSource(
                name=model.name,
                config=config["model"],
                files=provenance.files,
            ),
            dataset=DatasetSummary(**summary),
            **{key: config[key] for key in ("federate", "partition", "preprocessing")},
        )
        own = keys.folder / "invitations" / experiment / name
        own.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_json(own / BUNDLE_FILE, invitation.model_dump(mode="json"))
        for target, source in (
            (CA_CERTIFICATE_FILE, keys.ca_certificate),
            (SUPERNODE_KEY_FILE, keys.supernode_key(name)),
        ):
            if source.exists():  # clients that made their own key have sent the public half alone
                write_private_file(own / target, source.read_bytes())
        print(f"for {name}: {own}", flush=True)
