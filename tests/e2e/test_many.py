"""Fifty SuperNodes on this machine, some of which are killed."""

import random
import shutil
import time

import pytest
from artifact_samples import partition_manifest
from leftovers import wait_until
from running import find_children, hash_adapter, wait_for_round, wait_for_success

from blossomtune.artifacts.files import write_artifact
from blossomtune.files import read_json, write_json

CLIENTS, ROUNDS, KILLED = 50, 5, 10
SETTINGS = {"rounds": ROUNDS, "min_clients": CLIENTS, "optimizer_state": "kept"}


@pytest.fixture(scope="module")
def many_files(federation_files, tmp_path_factory):
    """Return the files of the small federation with its clients repeated."""
    home = tmp_path_factory.mktemp("many")
    preprocessed, partition = home / "preprocessed", home / "partition"
    shutil.copytree(federation_files["preprocessed"], preprocessed)
    manifest = read_json(preprocessed / "manifest.json")
    for part in ("clients", "held_out"):
        num_clients = len(manifest[part])
        manifest[part] = [manifest[part][i % num_clients] | {"client": i} for i in range(CLIENTS)]
    for i in range(num_clients, CLIENTS):
        shutil.copy(
            preprocessed / f"client_{i % num_clients}.arrow", preprocessed / f"client_{i}.arrow"
        )
    write_json(preprocessed / "manifest.json", manifest)
    partition.mkdir()
    names = [f"lab {i}" for i in range(CLIENTS)]
    write_artifact(partition / "manifest.json", partition_manifest(names))
    return federation_files | {"preprocessed": preprocessed, "partition": partition}


@pytest.mark.engine
def test_all_clients_take_part_although_ten_are_killed(engine, federate, many_files):
    """In each round, two random SuperNodes or trainers are killed; all clients reply."""
    engine("process")
    simulated = federate(many_files, **SETTINGS)
    wait_for_success(simulated)
    process = federate(many_files, engine="process", **SETTINGS)
    wait_until(lambda: len(find_children(process, "trainer")) == CLIENTS)
    rng = random.Random(0)
    for i, client in enumerate(rng.sample(range(CLIENTS), KILLED)):
        if done := i * ROUNDS // KILLED:
            wait_for_round(process, done)
        time.sleep(rng.random())
        find_children(process, rng.choice(["supernode", "trainer"]))[client].kill()
    output = wait_for_success(process)
    assert hash_adapter(process) == hash_adapter(simulated), output
    assert output.count("it is started again") == KILLED
    rounds = read_json(process.history)["rounds"]
    assert [len(r["clients"]) for r in rounds] == [0, *[CLIENTS] * ROUNDS]
    assert all(r["failed"] == [] for r in rounds)
