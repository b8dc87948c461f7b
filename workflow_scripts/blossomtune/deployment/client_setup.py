"""Prepare a client of engine ``external`` where its rows are."""

import argparse
import logging
from pathlib import Path

from pydantic import ValidationError

from blossomtune.artifacts.files import read_artifact
from blossomtune.artifacts.provenance import Provenance
from blossomtune.cli import run_script
from blossomtune.data import fetch_model
from blossomtune.data.partitioning import build_partition
from blossomtune.data.tokenization import build_tokenized
from blossomtune.deployment.bundle_checks import check_settings
from blossomtune.deployment.client_bundle import (
    BUNDLE_FILE,
    CA_CERTIFICATE_FILE,
    SUPERNODE_ARGUMENTS_FILE,
    SUPERNODE_KEY_FILE,
    BaseModelSource,
    ClientBundle,
)
from blossomtune.deployment.join_summary import describe_replies, summarize_participation
from blossomtune.errors import UserError, abbreviate
from blossomtune.federation.build_spec import build_spec
from blossomtune.federation.messages.versions import (
    PACKAGE,
    get_wheel_name,
    is_version,
    strip_build,
)
from blossomtune.federation.paths import ClientPaths
from blossomtune.federation.resources import Resources
from blossomtune.federation.run import FederatedRun
from blossomtune.files import read_json, write_atomically, write_json
from blossomtune.package_versions import get_package_versions
from blossomtune.version import __version__

logger = logging.getLogger(__name__)

MAX_BUNDLE_BYTES = 2**24
"""Bytes of an invitation; it has a few thousand."""


def prepare_client(folder: Path, data: Path, cores: int, *, fetches_model: bool = False) -> None:
    """Prepare a client's SuperNode in the folder ``work``: base model, rows and token ids.

    The base model is the folder ``model``, if it exists. What the client will send is logged, and
    written to ``work/sent.json``.

    Args:
        folder: Folder of the files that the client was sent.
        data: The client's rows: a file, a folder or an archive.
        cores: Number of processes that tokenize.
        fetches_model: Whether to fetch the base model from the source that the invitation names.

    Raises:
        UserError: If files are missing, the invitation is not valid, the base model is not the
            server's, or the rows do not have the required columns.
    """
    bundle = _load_bundle(folder / BUNDLE_FILE)
    work_dir = folder / "work"
    work_dir.mkdir(mode=0o700, exist_ok=True)
    model = _prepare_model(bundle.model, folder / "model", work_dir / "model", fetches_model)
    if not data.exists():
        raise UserError(f"there is nothing at {data}", "name the file or folder with your rows")
    rows, tokens = work_dir / "rows", work_dir / "tokens"
    with write_atomically(rows, directory=True) as partial:
        partition = bundle.partition | {"paths": {bundle.client: str(data)}}
        build_partition.write_partition(partition, bundle.dataset, None, partial)
    with write_atomically(tokens, directory=True) as partial:
        manifest = build_tokenized.tokenize_partition(
            bundle.preprocessing, model, None, rows, partial, cores
        )
    counts = manifest.clients[0]
    logger.info("%d rows, %d tokens", counts.rows, counts.tokens)
    spec = build_spec(bundle.federate, model, rows, tokens).redact_for_clients()
    client = bundle.partition["clients"].index(bundle.client)
    sent = describe_replies(spec, client, model)
    write_json(work_dir / "sent.json", sent)
    for line in summarize_participation(bundle, spec, manifest, sent):
        logger.info(line)
    share = spec.federation.gpus_per_client
    run = FederatedRun(
        spec=spec,
        paths=ClientPaths(model=model, preprocessed=tokens, checkpoints=work_dir / "checkpoints"),
        # auto: a client has a machine to itself
        resources=Resources(gpus_per_client=1.0 if share == "auto" else share, cores=cores),
    )
    run_file = work_dir / "run.json"
    run.save(run_file)
    arguments = ["--superlink", bundle.superlink, "--client", str(client), "--run", str(run_file)]
    arguments += ["--ca-certificate", str(folder / CA_CERTIFICATE_FILE)]
    arguments += ["--private-key", str(folder / SUPERNODE_KEY_FILE)]
    supernode = {"name": f"supernode_{client}", "arguments": arguments}
    write_json(folder / SUPERNODE_ARGUMENTS_FILE, supernode)


def _load_bundle(path: Path) -> ClientBundle:
    for name in (BUNDLE_FILE, CA_CERTIFICATE_FILE, SUPERNODE_KEY_FILE):
        if not path.with_name(name).exists():
            raise UserError(
                f"there is no {path.with_name(name)}",
                "put what you were sent, and your key if you made it yourself, into one folder",
            )
    if path.stat().st_size > MAX_BUNDLE_BYTES:
        raise UserError(f"{path} has more than {MAX_BUNDLE_BYTES} bytes and is no invitation")
    try:
        content = read_json(path)
        _require_same_version(content.get("version"))
        bundle = ClientBundle.model_validate(content)
    except (AttributeError, RecursionError, ValidationError, ValueError) as error:
        raise UserError(f"{path} is not an invitation of this version: {error}") from None
    try:
        check_settings(bundle.model_dump(), bundle.client, bundle.superlink)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    installed = get_package_versions()
    for name, version in bundle.packages.items():
        if strip_build(installed.get(name, "")) != strip_build(version):
            raise UserError(
                f"the server trains with {name} {version}, and here is {installed.get(name)}",
                "install the server's wheel, or use its image",
            )
    return bundle


def _require_same_version(version: object) -> None:
    """Raise UserError if the server has another version of this package than this machine."""
    if not isinstance(version, str) or not is_version(version):
        raise ValueError(f"version is {abbreviate(version)}")
    if version != __version__:
        raise UserError(
            f"the server has {PACKAGE} {version}, and here is {__version__}",
            f"pip install {get_wheel_name(version)}, which the server's owner has",
        )


def _prepare_model(
    source: BaseModelSource, provided_dir: Path, cache_dir: Path, may_fetch: bool
) -> Path:
    """Return the directory of a base model whose files have the server's digests."""
    config = source.config
    if provided_dir.is_dir():
        config = {"source": {"kind": "path", "path": str(provided_dir)}}
    elif config["source"]["kind"] == "path":
        raise UserError(
            f"the base model {source.name} is a folder of the server's, and there is no "
            f"{provided_dir}",
            "ask for a copy of the folder, and put it there",
        )
    target = cache_dir / source.name
    if not (provided_dir.is_dir() or target.exists() or may_fetch):
        origin = ", ".join(f"{key} {value}" for key, value in config["source"].items() if value)
        raise UserError(
            f"the invitation names a source of the base model {source.name} ({origin}), and there "
            f"is no {provided_dir}",
            "put the model's folder there, or add --fetch-model to fetch it from that source",
        )
    if not target.exists():
        target.parent.mkdir(exist_ok=True)
        with write_atomically(target, directory=True) as partial:
            fetch_model.fetch_model(config, partial)
    digests = read_artifact(target / "provenance.json", Provenance).files
    different = sorted(n for n, digest in source.files.items() if digests.get(n) != digest)
    if different:
        raise UserError(
            f"{', '.join(different)} of the base model {source.name} differ from the server's",
            f"remove {target}, and see that both have the same revision",
        )
    return target


def main() -> None:
    """Prepare a client with the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cores", type=int, required=True)
    parser.add_argument("--fetch-model", action="store_true", dest="fetches_model")
    prepare_client(**vars(parser.parse_args()))


if __name__ == "__main__":
    run_script(main)
