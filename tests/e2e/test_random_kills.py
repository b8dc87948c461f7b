"""Processes of a federation killed at random times: the adapter is that of a run left alone.

docs/reproducibility.md has the command for more kills, and figures.
"""

import os
import random
import shutil
import time
from contextlib import ExitStack, contextmanager, suppress
from functools import partial

import docker
import psutil
import pytest
from external_nodes import SupervisedNodes, create_engine
from local_grid import hash_adapter
from patience import PATIENCE

from blossomtune.deployment.docker_engine import RUN_LABEL

KILLS = int(os.environ.get("BLOSSOMTUNE_KILLS", "4"))
KEYS = {
    "rounds": 4,
    "rates": (1e-2, 1e-2),
    "min_clients": 3,
    "round_timeout": 120,
    "strategy": {"name": "fedadam", "eta": 1e-3},
    "optimizer_state": "kept",
    "communication": {"precision": "int8"},
    "training": {"max_steps": 20},
}
"""Server, clients and messages all have state that lasts from round to round."""

PARTS = ("federate", "superlink", "supernode", "trainer")
MAX_PAUSE = 12
"""Most seconds between two kills; the processes start in about half of that."""


def kill_child(process, part, rng):
    """Kill a process of a part of the federation; return whether there was one."""
    return kill_one_of(process.list_children(), part, rng)


def kill_one_of(processes, part, rng):
    """Kill one of the processes of a part; return whether there was one."""
    processes = [process for process in processes if get_name(process).startswith(part)]
    if not processes:
        return False
    with suppress(psutil.NoSuchProcess):
        rng.choice(processes).kill()
        return True
    return False


def kill_container(process, part, rng):
    """Kill a container of a part of the federation; return whether there was one."""
    client = docker.from_env()
    with suppress(docker.errors.APIError):  # it has ended meanwhile
        labelled = client.containers.list(filters={"label": RUN_LABEL})
        if containers := [c for c in labelled if part in c.name]:
            rng.choice(containers).kill()
            return True
    return False


def get_name(process):
    with suppress(psutil.Error):
        return process.name()
    return ""


@contextmanager
def run_on_process(start, home):
    yield lambda: start(engine="process"), kill_child


@contextmanager
def run_on_docker(start, home):
    yield lambda: start(engine="docker"), kill_container


@contextmanager
def run_on_external(start, home):
    """Whoever runs SuperNodes starts them again; the server starts on the same port."""
    (store, engine), run_file = create_engine(home), home / "run.json"
    nodes = SupervisedNodes(engine["port"], store, run_file, home)

    def start_server():
        process = start(engine=engine)
        if not run_file.exists():
            assert process.find_line("waiting for SuperNodes")
            shutil.copyfile(process.get_run_folder() / "run.json", run_file)
            stack.enter_context(nodes)
        return process

    def kill(process, part, rng):
        return kill_one_of([*process.list_children(), *nodes.list_processes()], part, rng)

    with ExitStack() as stack:
        yield start_server, kill


@pytest.fixture(scope="module")
def hash_without_kills(train_alike):
    run, _ = train_alike(**KEYS)
    return hash_adapter(run)


@pytest.mark.engine
@pytest.mark.parametrize("run_on", [run_on_process, run_on_docker, run_on_external])
def test_adapter_is_the_same_after_random_kills(
    engine, run_on, federate, federation_files, hash_without_kills, tmp_path
):
    engine("docker" if run_on is run_on_docker else "process")
    rng, checkpoints = random.Random(0), tmp_path / "checkpoints"
    start = partial(federate, federation_files, checkpoints=checkpoints, **KEYS)
    kills = dict.fromkeys(PARTS, 0)
    with run_on(start, tmp_path) as (start_run, kill):
        while True:
            process = start_run()
            while sum(kills.values()) < KILLS and process.poll() is None:
                time.sleep(rng.random() * MAX_PAUSE)
                part = rng.choice(PARTS)
                is_step = part == "federate"
                kills[part] += process.kill_and_wait() if is_step else kill(process, part, rng)
            output, _ = process.communicate(timeout=PATIENCE)
            if process.returncode == 0:
                assert process.hash_adapter() == hash_without_kills, output
                if sum(kills.values()) >= KILLS:
                    break
                shutil.rmtree(checkpoints)  # all rounds are done, so start over
            else:
                assert "Traceback" not in output
    print(kills)
