"""A small federation on files that the real stages would have made, and ways to run it."""

import json
import os
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

import leftovers
import pytest
from checkouts import CONFIG, IMAGE, PARTITION, PARTS, ROOT, snakemake
from filelock import FileLock
from leftovers import MARK, until

CLIENTS = 3


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left():
    """After a module's tests: no process of theirs, and nothing of a run that is over."""
    mark = secrets.token_hex(8)
    os.environ[MARK] = mark  # what starts now has it in its environment
    there = leftovers.runs()
    yield
    until(lambda: not leftovers.processes(mark))
    until(lambda: leftovers.runs() <= there)


@pytest.fixture(scope="session")
def checkout(tmp_path_factory):
    """A function that makes copies of the workflow, with a small data set outside of them."""
    data = tmp_path_factory.mktemp("elsewhere") / "words.csv"
    rows = "".join(f"text {i},{'even' if i % 2 == 0 else 'odd'}\n" for i in range(100))
    data.write_text("text,label\n" + rows)
    base = os.environ.get("BLOSSOMTUNE_BASE", "docker://python:3.11-slim")

    def make(name):
        where = tmp_path_factory.mktemp(name)
        for part in PARTS:
            copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
            copy(ROOT / part, where / part)
        (where / "config").mkdir()
        (where / "config" / "config.yaml").write_text(CONFIG.format(base=base, data=data))
        return where

    return make


@pytest.fixture(scope="session")
def built(engine, checkout, tmp_path_factory, worker_id):
    """A checkout whose partition was made in the image, which Snakemake built before.

    All processes of pytest share it.
    """
    engine("apptainer")
    home = tmp_path_factory.getbasetemp()
    note = (home if worker_id == "master" else home.parent) / "built"
    with FileLock(f"{note}.lock"):
        if not note.exists():
            where = checkout("inside")
            snakemake(where, "--use-singularity", PARTITION, APPTAINERENV_LEAKED="yes")
            note.write_text(str(where))
    return Path(note.read_text())


@pytest.fixture(scope="session")
def sif(request):
    """The path of the image: that of BLOSSOMTUNE_SIF, else one that is built now."""
    given = os.environ.get("BLOSSOMTUNE_SIF")
    return given or str(request.getfixturevalue("built") / IMAGE)


@pytest.fixture
def image(request):
    """A function of an engine's name: its block. Docker's image is made before."""

    def block(name):
        if name != "apptainer":
            return {"name": name}
        return {"name": name, "image": request.getfixturevalue("sif")}

    return block


@pytest.fixture(scope="session")
def federation_files(tiny_model, tmp_path_factory):
    """Model, partition and preprocessed rows: three clients of 12 to 20, 4 for validation."""
    import pyarrow as pa
    from artifact_samples import (
        client_token_counts,
        partition_manifest,
        provenance,
        token_counts,
        tokenized_manifest,
    )

    from blossomtune.artifacts.files import write_artifact
    from blossomtune.files import compute_file_sha256
    from blossomtune.modeling.chat_template import render_prompt
    from blossomtune.modeling.encoding import encode_example
    from blossomtune.modeling.tokenizer import load_tokenizer

    home = tmp_path_factory.mktemp("federation")
    model = shutil.copytree(tiny_model, home / "model")
    for file in model.iterdir():
        file.chmod(0o644)  # as stages write them: containers have another user
    write_artifact(model / "provenance.json", provenance())
    tokenizer = load_tokenizer(model)

    def write(name, count):
        pairs = [
            encode_example(
                tokenizer, render_prompt(tokenizer, f"{name} says {i}"), "yes" if i % 2 else "no"
            )
            for i in range(count)
        ]
        table = pa.table(
            {
                "row": pa.array(range(count), pa.int32()),
                "input_ids": pa.array([ids for ids, _ in pairs], pa.list_(pa.int32())),
                "labels": pa.array([marked for _, marked in pairs], pa.list_(pa.int32())),
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


@pytest.fixture(scope="session")
def federations(tmp_path_factory):
    """Starts the federate step as the workflow does: (files, cores, **federation) -> process.

    Its adapter and history go to ``process.adapter`` and ``process.history``.
    """

    def start(
        files,
        cores=2,
        training=None,
        checkpoints=None,
        rates=(1e-2, 5e-5),
        optimizer_state="fresh",
        **federation,
    ):
        from blossomtune.config.federation import FederationSettings
        from blossomtune.config.lora import LoraSettings
        from blossomtune.config.training import TrainingSettings

        arguments = {"per_device_train_batch_size": 4, "max_steps": 2} | (training or {})
        chosen = FederationSettings(**({"rounds": 2, "evaluate_rows": 4} | federation))
        config = {
            "seed": 7,
            "lora": LoraSettings(r=4, alpha=8).model_dump(),
            "training": TrainingSettings(
                learning_rate_max=rates[0],
                learning_rate_min=rates[1],
                optimizer_state=optimizer_state,
                arguments=arguments,
            ).model_dump(),
            "federation": chosen.model_dump(),
        }
        out = tmp_path_factory.mktemp("run")
        paths = {**files, "adapter": out / "adapter", "history": out / "history.json"}
        paths["checkpoints"] = checkpoints or out / "checkpoints"
        paths["logs"] = out / "logs"
        options = [word for key, path in paths.items() for word in (f"--{key}", str(path))]
        process = subprocess.Popen(
            [
                *(sys.executable, "workflow_scripts/federate.py", "--config", json.dumps(config)),
                *(*options, "--cores", str(cores)),
            ],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"TMPDIR": "/tmp", "CUDA_VISIBLE_DEVICES": ""},
        )
        process.adapter, process.history = paths["adapter"], paths["history"]
        process.logs = paths["logs"]
        return process

    return start


@pytest.fixture
def federate(federations):
    """The same for one test, which may leave them running."""
    started = []

    def start(*arguments, **options):
        started.append(federations(*arguments, **options))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def train(federation_files, tmp_path):
    """Trains in this process: ``(experiment, folder, order, files) -> (run, history)``."""

    def start(e, folder="run", order=None, files=federation_files):
        from in_process import InProcess

        from blossomtune.federation.build_spec import build_spec
        from blossomtune.federation.paths import ServerPaths
        from blossomtune.federation.run import FederatedRun
        from blossomtune.federation.server.server_app import run_federation

        config = e.model_dump(mode="json", include={"lora", "training", "federation"})
        home = tmp_path / folder
        paths = ServerPaths(
            model=files["model"],
            preprocessed=files["preprocessed"],
            checkpoints=home / "checkpoints",
            adapter=home / "adapter",
            history=home / "history.json",
        )
        spec = build_spec(config | {"seed": 7}, **files)
        run = FederatedRun(spec=spec, paths=paths)
        run_federation(InProcess(run, order), run)
        return run, json.loads(paths.history.read_text())

    return start
