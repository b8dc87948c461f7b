"""Fifty SuperNodes on this machine, some of which are killed."""

import random
import shutil
import time

import pytest
from artifact_samples import partition_manifest
from local_grid import hash_adapter
from patience import wait_until

from blossomtune.artifacts.files import write_artifact
from blossomtune.files import read_json, write_json

CLIENTS, ROUNDS, KILLS = 50, 5, 10
KEYS = {"rounds": ROUNDS, "min_clients": CLIENTS, "optimizer_state": "kept"}


@pytest.fixture(scope="module")
def fifty_client_files(federation_files, tmp_path_factory):
    """Return the small federation's files with the rows of its clients repeated."""
    home = tmp_path_factory.mktemp("many")
    preprocessed, partition = home / "preprocessed", home / "partition"
    shutil.copytree(federation_files["preprocessed"], preprocessed)
    manifest = read_json(preprocessed / "manifest.json")
    originals = len(manifest["clients"])
    for key in ("clients", "held_out"):
        manifest[key] = [manifest[key][i % originals] | {"client": i} for i in range(CLIENTS)]
    for i in range(originals, CLIENTS):
        original = preprocessed / f"client_{i % originals}.arrow"
        shutil.copy(original, preprocessed / f"client_{i}.arrow")
    write_json(preprocessed / "manifest.json", manifest)
    partition.mkdir()
    names = [f"lab {i}" for i in range(CLIENTS)]
    write_artifact(partition / "manifest.json", partition_manifest(names))
    return federation_files | {"preprocessed": preprocessed, "partition": partition}


@pytest.mark.engine
def test_fifty_supernodes_train_in_every_round_although_ten_are_killed(
    engine, federate, train_alike, fifty_client_files
):
    """Two random clients per round lose their SuperNode or its trainer."""
    engine("process")
    process = federate(fifty_client_files, engine="process", **KEYS)
    wait_until(lambda: len(process.find_children("trainer")) == CLIENTS)
    rng = random.Random(0)
    for i, client in enumerate(rng.sample(range(CLIENTS), KILLS)):
        if rounds_done := i * ROUNDS // KILLS:
            process.wait_for_round(rounds_done)
        time.sleep(rng.random())
        process.find_children(rng.choice(["supernode", "trainer"]))[client].kill()
    output = process.finish()
    expected, _ = train_alike(fifty_client_files, **KEYS)
    assert process.hash_adapter() == hash_adapter(expected), output
    # On a loaded machine, a SuperNode can close an idle connection while its trainer sends a
    # request. That trainer ends, too, and is started again.
    assert output.count("it is started again") >= KILLS
    assert [len(clients) for clients in process.list_clients()] == [CLIENTS] * ROUNDS
    assert all(r["failed"] == [] for r in process.read_rounds())
