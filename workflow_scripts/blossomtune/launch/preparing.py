"""What a client of engine ``external`` makes of its invitation, where its rows are.

A program of its own: what it loads is not in memory any more when the SuperNode runs.
"""

import argparse
from pathlib import Path

from pydantic import ValidationError

from blossomtune.data import models
from blossomtune.data.cutting import partition
from blossomtune.data.tokens import tokenise
from blossomtune.errors import UserError
from blossomtune.federation.checkpoints import versions
from blossomtune.federation.job import describe
from blossomtune.files import atomic, read_json, write_json
from blossomtune.launch.invitation import AUTHORITY, FILE, KEY, Base, Invitation
from blossomtune.step import run


def prepare(folder: Path, data: Path, cores: int) -> None:
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
    asked = _read(folder / FILE)
    work = folder / "work"
    work.mkdir(mode=0o700, exist_ok=True)
    model = _model(asked.model, folder / "model", work / "model")
    if not data.exists():
        raise UserError(f"there is nothing at {data}", "name the file or folder with your rows")
    dataset, rows, tokens = work / "dataset", work / "rows", work / "tokens"
    dataset.mkdir(exist_ok=True)
    write_json(dataset / "manifest.json", asked.dataset)
    with atomic(rows, directory=True) as new:
        told = asked.partition | {"paths": {asked.client: str(data)}}
        partition.build(told, dataset, new)
    with atomic(tokens, directory=True) as new:
        made = tokenise.build(asked.preprocessing, model, None, rows, new, cores)
    print(f"{made['clients'][0]['rows']} rows, {made['clients'][0]['tokens']} tokens", flush=True)
    unused = {"adapter": work / "adapter", "history": work / "history.json"}
    if asked.federate["federation"]["gpus_per_client"] == "auto":
        asked.federate["federation"]["gpus_per_client"] = 1.0  # a client has a machine to itself
    job = describe(
        asked.federate,
        model=model,
        partition=rows,
        preprocessed=tokens,
        checkpoints=work / "checkpoints",
        cores=cores,
        **unused,
    )
    write_json(work / "job.json", job.model_dump(mode="json"))
    client = asked.partition["clients"].index(asked.client)
    words = ["--superlink", asked.superlink, "--client", str(client)]
    words += ["--job", str(work / "job.json")]
    words += ["--authority", str(folder / AUTHORITY), "--key", str(folder / KEY)]
    write_json(work / "supernode.json", {"name": f"supernode_{client}", "words": words})


def _read(path: Path) -> Invitation:
    for name in (FILE, AUTHORITY, KEY):
        if not path.with_name(name).exists():
            raise UserError(
                f"there is no {path.with_name(name)}",
                "put what you were sent, and your key if you made it yourself, into one folder",
            )
    try:
        found = Invitation.model_validate(read_json(path))
    except (ValidationError, ValueError) as error:
        raise UserError(f"{path} is not an invitation of this version: {error}") from None
    mine = versions()
    for name, wanted in found.packages.items():
        if mine.get(name, "").partition("+")[0] != wanted.partition("+")[0]:
            raise UserError(
                f"the server trains with {name} {wanted}, and here is {mine.get(name)}",
                "use the image, or the commit, that the server uses",
            )
    return found


def _model(wanted: Base, given: Path, made: Path) -> Path:
    """The base model, checked against what the server has."""
    config = wanted.config
    if given.is_dir():
        config = {"source": {"kind": "path", "path": str(given)}}
    elif config["source"]["kind"] == "path":
        raise UserError(
            f"the base model {wanted.name} is a folder of the server's, and there is no {given}",
            "ask for a copy of the folder, and put it there",
        )
    target = made / wanted.name
    if not target.exists():
        target.parent.mkdir(exist_ok=True)
        with atomic(target, directory=True) as new:
            models.build(config, new)
    mine = read_json(target / "provenance.json")["files"]
    other = sorted(name for name, digest in wanted.files.items() if mine.get(name) != digest)
    if other:
        raise UserError(
            f"{', '.join(other)} of the base model {wanted.name} differ from the server's",
            f"remove {target}, and see that both have the same revision",
        )
    return target


def main() -> None:
    """Prepares what the command line names."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--folder", type=Path, required=True)
    arguments.add_argument("--data", type=Path, required=True)
    arguments.add_argument("--cores", type=int, required=True)
    prepare(**vars(arguments.parse_args()))


if __name__ == "__main__":
    run(main)
