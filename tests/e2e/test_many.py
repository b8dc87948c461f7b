"""Fifty SuperNodes on this machine, some of which are killed."""

import random
import shutil
import time

import pytest
from artifact_samples import partition_manifest
from leftovers import until
from test_engines import family, finished, has_round, weights

from blossomtune.artifacts.files import write_artifact
from blossomtune.files import read_json, write_json

CLIENTS, ROUNDS, KILLED = 50, 5, 10
KEYS = {"rounds": ROUNDS, "min_clients": CLIENTS, "optimizer_state": "kept"}


@pytest.fixture(scope="module")
def many(federation_files, tmp_path_factory):
    """The small federation's files, with its clients' rows again and again."""
    home = tmp_path_factory.mktemp("many")
    preprocessed, partition = home / "preprocessed", home / "partition"
    shutil.copytree(federation_files["preprocessed"], preprocessed)
    manifest = read_json(preprocessed / "manifest.json")
    for part in ("clients", "held_out"):
        few = len(manifest[part])
        manifest[part] = [manifest[part][i % few] | {"client": i} for i in range(CLIENTS)]
    for i in range(few, CLIENTS):
        shutil.copy(preprocessed / f"client_{i % few}.arrow", preprocessed / f"client_{i}.arrow")
    write_json(preprocessed / "manifest.json", manifest)
    partition.mkdir()
    names = [f"lab {i}" for i in range(CLIENTS)]
    write_artifact(partition / "manifest.json", partition_manifest(names))
    return federation_files | {"preprocessed": preprocessed, "partition": partition}


@pytest.mark.engine
def test_fifty_supernodes_of_which_ten_are_killed(engine, federate, many):
    """Two in each round, by chance a SuperNode or its trainer; all take part in all rounds."""
    engine("process")
    simulated = federate(many, **KEYS)
    finished(simulated)
    process = federate(many, engine="process", **KEYS)
    until(lambda: len(family(process, "trainer")) == CLIENTS)
    chance = random.Random(0)
    for i, client in enumerate(chance.sample(range(CLIENTS), KILLED)):
        if done := i * ROUNDS // KILLED:
            has_round(process, done)
        time.sleep(chance.random())
        family(process, chance.choice(["supernode", "trainer"]))[client].kill()
    said = finished(process)
    assert weights(process) == weights(simulated), said
    assert said.count("it is started again") == KILLED
    rounds = read_json(process.history)["rounds"]
    assert [len(r["clients"]) for r in rounds] == [0, *[CLIENTS] * ROUNDS]
    assert all(r["failed"] == [] for r in rounds)
