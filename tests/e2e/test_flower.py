"""One federation on Flower's own SuperLink and SuperNodes, with TLS and registered keys."""

import json
import re
import shlex
import shutil
import subprocess
import sys

import pytest
from checkout import ROOT
from federate_process import EXPECTED_KEYS, SEED, build_settings
from local_grid import hash_adapter
from patience import wait_until
from stock_flower import start_stock_flower

from blossomtune.artifacts.checksums import write_checksums
from blossomtune.files import compute_file_sha256, read_json

APP = "dist/flower-app"
NODE_CONFIGS = {"lab 0": "partition-id=0", "lab 1": 'client="lab 1"'}


@pytest.fixture(scope="module")
def two_clients(federation_files, tmp_path_factory):
    """Return the files of a federation of the first two clients."""
    home = tmp_path_factory.mktemp("two")
    files = {"model": federation_files["model"]}
    for name in ("partition", "preprocessed"):
        files[name] = shutil.copytree(federation_files[name], home / name)
        manifest = read_json(files[name] / "manifest.json")
        lists = {key: manifest[key][:2] for key in ("clients", "held_out") if key in manifest}
        (files[name] / "manifest.json").write_text(json.dumps(manifest | lists))
    return files


@pytest.mark.engine
def test_run_survives_kills_of_either_side_and_makes_the_adapter_of_one_process(
    engine, federate, train_alike, two_clients, tmp_path
):
    """federate is killed in round 2 and run again. The SuperLink is killed in round 3.

    The ServerApp runs here, as the SuperLink's isolation allows.
    """
    engine("process")
    keys = EXPECTED_KEYS | {"min_clients": 2}
    alone, _ = train_alike(two_clients, **keys)
    with start_stock_flower(tmp_path, NODE_CONFIGS, isolation="process") as flower:
        block = {"name": "flower", "address": flower.address}
        block |= {"root_certificates": str(flower.keys.ca_certificate)}
        block |= {"superexec_secret": str(flower.secret)}
        killed = federate(two_clients, engine=block, **keys)
        killed.wait_for_round(1)
        assert killed.kill_and_wait()
        resumed = federate(two_clients, engine=block, **keys, checkpoints=killed.checkpoints)
        resumed.wait_for_round(2)
        flower.restart_superlink()
        output = resumed.finish()
        assert "going on after round" in output
        assert resumed.hash_adapter() == hash_adapter(alone), output
        assert sorted(list_statuses(flower)) == ["finished:completed", "finished:stopped"]
    [folder] = resumed.checkpoints.glob("*/identity.json")
    assert (alone.paths.checkpoints / folder.parent.name).is_dir()  # any engine goes on with it
    assert list(resumed.checkpoints.glob("flower-*")) == []


@pytest.mark.engine
def test_node_that_claims_another_client_is_refused_by_a_server_app_beside_the_superlink(
    engine, federate, two_clients, tmp_path, monkeypatch
):
    """The SuperLink is a connection of Flower's own configuration, and starts the ServerApp."""
    engine("process")
    with start_stock_flower(tmp_path, NODE_CONFIGS | {"lab 1": 'client="lab 0"'}) as flower:
        monkeypatch.setenv("FLWR_HOME", str(flower.home))
        block = {"name": "flower", "connection": "lab"}
        output = federate(two_clients, engine=block, min_clients=2).finish(returncode=1)
        [run] = flower.run("flwr", "ls", "lab")["runs"]
    assert "error: the federation cannot start: 1 of the 2 clients" in output
    assert "\n  1 (lab 1)\n  a node says that it is client 0, with another's key" in output
    assert run["status"] == "finished:failed"


@pytest.fixture
def run_command():
    """Return the guide's command for Flower's own program."""
    guide = (ROOT / "docs/deployment/flower-app.md").read_text()
    return re.search(r"^flwr run .*$", guide, re.M)[0]


@pytest.fixture
def supernode_command():
    """Return the arguments of the guide's command for a SuperNode with the model in memory."""
    guide = (ROOT / "docs/deployment/flower.md").read_text()
    command = re.search(r"^blossomtune (supernode (?:.*\\\n)*.*)$", guide, re.M)[1]
    return shlex.split(command.replace("\\\n", " "))


@pytest.mark.engine
def test_app_of_the_dist_folder_trains_with_flwr_run(
    engine, train_alike, two_clients, tmp_path, run_command, supernode_command
):
    """The app brings the code, and a setting of the run file is overridden.

    One SuperNode is Flower's, and one keeps the model in memory, through both runs.
    """
    engine("process")
    keys = EXPECTED_KEYS | {"min_clients": 2}
    alone, _ = train_alike(two_clients, **keys)
    config = build_settings(**keys | {"rounds": 1}) | {"seed": SEED}
    run_file = tmp_path / "run.json"
    paths = []
    for stage, path in two_clients.items():
        write_checksums(path, stage)
        paths += [f"--{stage}", str(path)]
    command = [sys.executable, "workflow_scripts/write_run.py", "--config", json.dumps(config)]
    subprocess.run([*command, *paths, "--output", run_file], cwd=ROOT, check=True)
    command = [sys.executable, ROOT / "envs/make_dist.py"]
    subprocess.run(command, cwd=tmp_path, check=True)
    command = run_command.replace("/data/results/runs/quickstart/run.json", str(run_file))
    command = command.replace(APP, str(tmp_path / APP)).replace("rounds=5", "rounds=3")
    warm = {"lab 1": supernode_command}
    with start_stock_flower(tmp_path, NODE_CONFIGS, warm_commands=warm) as flower:
        trainers = set()
        for number in (1, 2):
            for path in ("adapter", "checkpoints"):
                shutil.rmtree(tmp_path / path, ignore_errors=True)
            assert flower.run(*shlex.split(command))["success"]
            finished = "finished:completed"
            wait_until(lambda: all(s.startswith("finished") for s in list_statuses(flower)))
            assert list_statuses(flower) == [finished] * number, flower.read_log()
            weights = tmp_path / "adapter/adapter_model.safetensors"
            assert compute_file_sha256(weights) == hash_adapter(alone)
            assert len(read_json(tmp_path / "history.json")["rounds"]) == 4
            trainers |= {p.pid for p in flower.list_processes() if p.name() == "trainer_lab 1"}
        assert len(trainers) == 1


def list_statuses(flower):
    return [run["status"] for run in flower.run("flwr", "ls", "lab")["runs"]]
