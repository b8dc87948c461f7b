"""A small federation on files as the stages write them, and ways to run it."""

import os
import secrets
import shutil
from pathlib import Path

import orphan_processes
import pytest
from checkout import copy_workflow
from federate_process import EXPECTED_KEYS, SEED, FederateProcess, build_settings
from filelock import FileLock
from patience import wait_until
from small_workflow import IMAGE, PARTITION, build_partition_config, run_snakemake, write_config

from blossomtune.files import read_json

CLIENTS = 3


@pytest.fixture(scope="module", autouse=True)
def check_for_orphans():
    """Fail a module whose tests leave processes, containers, networks or folders behind."""
    test_id = secrets.token_hex(8)
    os.environ[orphan_processes.TEST_ID] = test_id  # new processes inherit it
    before = orphan_processes.find_orphaned_runs()
    yield
    wait_until(lambda: not orphan_processes.find_marked_processes(test_id))
    orphans = orphan_processes.find_orphaned_runs() - before  # other workers may start runs now
    wait_until(lambda: not orphans & orphan_processes.find_orphaned_runs())


@pytest.fixture(scope="session")
def common_folder(tmp_path_factory, worker_id):
    """Return a folder that all workers of pytest share."""
    base = tmp_path_factory.getbasetemp()
    return base if worker_id == "master" else base.parent


@pytest.fixture(scope="session")
def create_workflow(tmp_path_factory, common_folder):
    """Return a function that copies the workflow; its small data set lies outside of the copy.

    The data set's path is the same for all workers of pytest, since its manifest has it.
    """
    data = common_folder / "words.csv"
    rows = "".join(f"text {i},{'even' if i % 2 == 0 else 'odd'}\n" for i in range(100))
    with FileLock(f"{data}.lock"):
        if not data.exists():
            data.write_text("text,label\n" + rows)
    base = os.environ.get("BLOSSOMTUNE_BASE", "docker://python:3.11-slim")

    def create(name):
        home = tmp_path_factory.mktemp(name)
        copy_workflow(home)
        write_config(home, build_partition_config(data, base))
        return home

    return create


@pytest.fixture(scope="session")
def container_workflow(engine, create_workflow, common_folder):
    """Return a workflow that has built the Apptainer image and, in it, a partition.

    All workers of pytest share it.
    """
    engine("apptainer")
    marker = common_folder / "container_workflow"
    with FileLock(f"{marker}.lock"):
        if not marker.exists():
            home = create_workflow("container")
            run_snakemake(home, "--use-singularity", PARTITION, APPTAINERENV_LEAKED="yes")
            marker.write_text(str(home))
    return Path(marker.read_text())


@pytest.fixture(scope="session")
def apptainer_image(request):
    """Return the path of BLOSSOMTUNE_SIF, or of an image that is built now."""
    path = os.environ.get("BLOSSOMTUNE_SIF")
    return path or str(request.getfixturevalue("container_workflow") / IMAGE)


@pytest.fixture
def container_engine(request):
    """Return a function of an engine's name that returns its block of the configuration."""

    def build_block(name):
        if name != "apptainer":
            return {"name": name}
        return {"name": name, "image": request.getfixturevalue("apptainer_image")}

    return build_block


@pytest.fixture(scope="session")
def federation_files(tiny_model, tmp_path_factory):
    """Return model, partition and tokenized rows of three clients, each with 4 validation rows."""
    import pyarrow as pa
    from artifact_samples import (
        client_token_counts,
        partition_manifest,
        provenance,
        token_counts,
        tokenized_manifest,
    )
    from chat_examples import encode_example, render_prompt

    from blossomtune.artifacts.files import write_artifact
    from blossomtune.files import compute_file_sha256
    from blossomtune.modeling.tokenizer import load_tokenizer

    home = tmp_path_factory.mktemp("federation")
    model = shutil.copytree(tiny_model, home / "model")
    for file in model.iterdir():
        file.chmod(0o644)  # as stages write them; containers have another user
    write_artifact(model / "provenance.json", provenance())
    tokenizer = load_tokenizer(model)

    def write(name, count):
        examples = [
            encode_example(
                tokenizer, render_prompt(tokenizer, f"{name} says {i}"), "yes" if i % 2 else "no"
            )
            for i in range(count)
        ]
        table = pa.table(
            {
                "row": pa.array(range(count), pa.int32()),
                "input_ids": pa.array([ids for ids, _ in examples], pa.list_(pa.int32())),
                "labels": pa.array([labels for _, labels in examples], pa.list_(pa.int32())),
            }
        )
        path = home / "preprocessed" / f"{name}.arrow"
        path.parent.mkdir(exist_ok=True)
        with pa.ipc.new_stream(str(path), table.schema) as stream:
            stream.write_table(table)
        return {"rows": count, "sha256": compute_file_sha256(path)}

    rows = [client_token_counts(i, **write(f"client_{i}", 12 + 4 * i)) for i in range(CLIENTS)]
    held_out = [
        {"client": i, "test": None}
        | {"validation": token_counts(**write(f"client_{i}.validation", 4))}
        for i in range(CLIENTS)
    ]
    test = token_counts(**write("test", 10))
    manifest = tokenized_manifest(rows, test=test, held_out=held_out)
    write_artifact(home / "preprocessed/manifest.json", manifest)
    (home / "partition").mkdir()
    names = [f"lab {i}" for i in range(CLIENTS)]
    write_artifact(home / "partition/manifest.json", partition_manifest(names))
    return {
        "model": model,
        "partition": home / "partition",
        "preprocessed": home / "preprocessed",
    }


@pytest.fixture
def federate(tmp_path_factory):
    """Return a function that starts the federate step as the workflow does.

    Its keywords are those of ``build_settings``, and those below; it returns a FederateProcess.
    Processes that still run after the test are killed.
    """
    processes = []

    def start(files, cores=2, checkpoints=None, **keys):
        config = {"seed": SEED} | build_settings(**keys)
        home = tmp_path_factory.mktemp("run")
        processes.append(FederateProcess(config, files, home, cores, checkpoints))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def train_settings(federation_files):
    """Return a function that runs a federation in this process; it returns run and history."""

    def run_settings(home, settings, order=None, files=federation_files):
        from local_grid import LocalGrid

        from blossomtune.federation.build_spec import build_spec
        from blossomtune.federation.paths import ServerPaths
        from blossomtune.federation.run import FederatedRun
        from blossomtune.federation.server.run_federation import run_federation

        paths = ServerPaths(
            model=files["model"],
            preprocessed=files["preprocessed"],
            checkpoints=home / "checkpoints",
            adapter=home / "adapter",
            history=home / "history.json",
        )
        spec = build_spec(settings | {"seed": SEED}, **files)
        run = FederatedRun(spec=spec, paths=paths)
        run_federation(LocalGrid(run, order), run)
        return run, read_json(paths.history)

    return run_settings


@pytest.fixture(scope="session")
def train_in(train_settings):
    """Return the same function for settings of an experiment."""

    def run_experiment(home, experiment, **arguments):
        blocks = {"lora", "training", "federation"}
        settings = experiment.model_dump(mode="json", include=blocks)
        return train_settings(home, settings, **arguments)

    return run_experiment


@pytest.fixture(scope="session")
def train_alike(train_settings, federation_files, tmp_path_factory):
    """Return a function that trains in this process what ``federate`` trains in others.

    Its keywords are those of ``build_settings``; it returns run and history.
    """

    def run_settings(files=federation_files, **keys):
        return train_settings(tmp_path_factory.mktemp("alike"), build_settings(**keys), files=files)

    return run_settings


@pytest.fixture(scope="session")
def expected_hash(train_alike):
    """Return the SHA-256 of the adapter that a federation with ``EXPECTED_KEYS`` trains."""
    from local_grid import hash_adapter

    run, _ = train_alike(**EXPECTED_KEYS)
    return hash_adapter(run)


@pytest.fixture(scope="session")
def hash_without_client(train_alike):
    """Return a function that hashes the adapter of a run in which a client fails.

    Its arguments are the client's number, the first of its failing rounds, and keys of
    ``federation``.
    """

    def run_settings(client, first_round, **federation):
        from flwr.app import Error, Message
        from local_grid import FIRST_NODE, LocalGrid, hash_adapter

        from blossomtune.federation.messages.records import ROUND_RECORD

        send_reply = LocalGrid._reply

        def reply(grid, message):
            number = message.content.config_records.get(ROUND_RECORD, {}).get("round", 0)
            if number >= first_round and message.metadata.dst_node_id == FIRST_NODE + client:
                return Message(Error(0, "Message: it is absent"), reply_to=message)
            return send_reply(grid, message)

        keys = {"optimizer_state": "kept", "min_clients": 2, "quarantine": 0} | federation
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(LocalGrid, "_reply", reply)  # the fault; the real method replies else
            run, _ = train_alike(**keys)
        return hash_adapter(run)

    return run_settings


@pytest.fixture
def train(train_in, tmp_path):
    """Return the same function for folders of one test."""

    def run_experiment(experiment, folder="run", **arguments):
        return train_in(tmp_path / folder, experiment, **arguments)

    return run_experiment
