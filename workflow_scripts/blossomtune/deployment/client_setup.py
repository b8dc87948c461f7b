"""What a client of engine ``external`` makes of its invitation, where its rows are.

A program of its own: what it loads is not in memory any more when the SuperNode runs.
"""

import argparse
from pathlib import Path

from pydantic import ValidationError

from blossomtune.artifacts.files import read_artifact
from blossomtune.artifacts.provenance import Provenance
from blossomtune.cli import run_script
from blossomtune.data import fetch_model
from blossomtune.data.partitioning import build_partition
from blossomtune.data.tokenization import build_tokenized
from blossomtune.deployment.client_bundle import (
    BUNDLE_FILE,
    CA_CERTIFICATE_FILE,
    SUPERNODE_KEY_FILE,
    BaseModelSource,
    ClientBundle,
)
from blossomtune.errors import UserError
from blossomtune.federation.build_spec import build_spec
from blossomtune.federation.paths import ClientPaths
from blossomtune.federation.resources import Resources
from blossomtune.federation.run import FederatedRun
from blossomtune.files import read_json, write_atomically, write_json
from blossomtune.package_versions import get_package_versions


def prepare_client(folder: Path, data: Path, cores: int) -> None:
    """Makes of an invitation, and a client's own rows, what a SuperNode needs.

    Model, rows, token ids and ``supernode.json``, the SuperNode's name and arguments, come to lie
    in ``work`` of the folder. A folder ``model`` there is taken for the base model; without it, it
    is fetched from where the server has it from.

    Args:
        folder: what the client was sent, and where it is.
        data: its rows: a file, a folder or an archive.
        cores: processes that tokenise.

    Raises:
        UserError: where something is missing, the base model is another one, or the rows do not
            have the columns that they need.
    """
    asked = _load_bundle(folder / BUNDLE_FILE)
    work = folder / "work"
    work.mkdir(mode=0o700, exist_ok=True)
    model = _prepare_model(asked.model, folder / "model", work / "model")
    if not data.exists():
        raise UserError(f"there is nothing at {data}", "name the file or folder with your rows")
    rows, tokens = work / "rows", work / "tokens"
    with write_atomically(rows, directory=True) as new:
        told = asked.partition | {"paths": {asked.client: str(data)}}
        build_partition.write_partition(told, asked.dataset, None, new)
    with write_atomically(tokens, directory=True) as new:
        made = build_tokenized.tokenize_partition(
            asked.preprocessing, model, None, rows, new, cores
        )
    print(f"{made.clients[0].rows} rows, {made.clients[0].tokens} tokens", flush=True)
    spec = build_spec(asked.federate, model, rows, tokens)
    share = spec.federation.gpus_per_client
    run = FederatedRun(
        spec=spec,
        paths=ClientPaths(model=model, preprocessed=tokens, checkpoints=work / "checkpoints"),
        # a client has a machine to itself
        resources=Resources(gpus_per_client=1.0 if share == "auto" else share, cores=cores),
    )
    run.save(work / "run.json")
    client = asked.partition["clients"].index(asked.client)
    words = ["--superlink", asked.superlink, "--client", str(client)]
    words += ["--run", str(work / "run.json")]
    words += [
        "--ca-certificate",
        str(folder / CA_CERTIFICATE_FILE),
        "--private-key",
        str(folder / SUPERNODE_KEY_FILE),
    ]
    write_json(work / "supernode.json", {"name": f"supernode_{client}", "arguments": words})


def _load_bundle(path: Path) -> ClientBundle:
    for name in (BUNDLE_FILE, CA_CERTIFICATE_FILE, SUPERNODE_KEY_FILE):
        if not path.with_name(name).exists():
            raise UserError(
                f"there is no {path.with_name(name)}",
                "put what you were sent, and your key if you made it yourself, into one folder",
            )
    try:
        found = ClientBundle.model_validate(read_json(path))
    except (ValidationError, ValueError) as error:
        raise UserError(f"{path} is not an invitation of this version: {error}") from None
    mine = get_package_versions()
    for name, wanted in found.packages.items():
        if mine.get(name, "").partition("+")[0] != wanted.partition("+")[0]:
            raise UserError(
                f"the server trains with {name} {wanted}, and here is {mine.get(name)}",
                "use the image, or the commit, that the server uses",
            )
    return found


def _prepare_model(source: BaseModelSource, provided_dir: Path, cache_dir: Path) -> Path:
    """The base model, checked against what the server has."""
    config = source.config
    if provided_dir.is_dir():
        config = {"source": {"kind": "path", "path": str(provided_dir)}}
    elif config["source"]["kind"] == "path":
        raise UserError(
            f"the base model {source.name} is a folder of the server's, and there is no {provided_dir}",
            "ask for a copy of the folder, and put it there",
        )
    target = cache_dir / source.name
    if not target.exists():
        target.parent.mkdir(exist_ok=True)
        with write_atomically(target, directory=True) as new:
            fetch_model.fetch_model(config, new)
    mine = read_artifact(target / "provenance.json", Provenance).files
    other = sorted(name for name, digest in source.files.items() if mine.get(name) != digest)
    if other:
        raise UserError(
            f"{', '.join(other)} of the base model {source.name} differ from the server's",
            f"remove {target}, and see that both have the same revision",
        )
    return target


def main() -> None:
    """Prepares what the command line names."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--folder", type=Path, required=True)
    arguments.add_argument("--data", type=Path, required=True)
    arguments.add_argument("--cores", type=int, required=True)
    prepare_client(**vars(arguments.parse_args()))


if __name__ == "__main__":
    run_script(main)
