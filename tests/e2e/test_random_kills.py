"""Processes of a federation killed at random times: the adapter is that of a run left alone.

More often: ``BLOSSOMTUNE_KILLS=200 make test ARGS="-m engine tests/e2e/test_random_kills.py"``.
"""

import os
import random
import shutil
import time
from contextlib import suppress

import docker
import psutil
import pytest

from blossomtune.deployment.docker_engine import RUN_LABEL

KILLS = int(os.environ.get("BLOSSOMTUNE_KILLS", "6"))
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


def kill_part(process, part, rng):
    """Kill a process of a part of the federation; return whether there was one."""
    if part == "federate":
        return process.kill_and_wait()
    children = [c for c in process.list_children() if get_name(c).startswith(part)]
    if not children:
        return False
    with suppress(psutil.NoSuchProcess):
        rng.choice(children).kill()
        return True
    return False


def kill_container(process, part, rng):
    """Kill a container of a part of the federation, or the step itself."""
    if part == "federate":
        return process.kill_and_wait()
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


@pytest.mark.engine
@pytest.mark.parametrize("engine_name", ["process", "docker"])
def test_adapter_is_the_same_after_random_kills(
    engine, engine_name, federate, federation_files, tmp_path
):
    engine(engine_name)
    engine("simulation")
    expected = federate(federation_files, engine="simulation", **KEYS)
    expected.finish()
    kill = {"process": kill_part, "docker": kill_container}[engine_name]
    rng, checkpoints = random.Random(0), tmp_path / "checkpoints"
    kills = dict.fromkeys(PARTS, 0)
    while True:
        process = federate(federation_files, engine=engine_name, checkpoints=checkpoints, **KEYS)
        while sum(kills.values()) < KILLS and process.poll() is None:
            time.sleep(rng.random() * MAX_PAUSE)
            part = rng.choice(PARTS)
            kills[part] += kill(process, part, rng)
        output, _ = process.communicate(timeout=600)
        if process.returncode == 0:
            assert process.hash_adapter() == expected.hash_adapter(), output
            if sum(kills.values()) >= KILLS:
                break
            shutil.rmtree(checkpoints)  # all rounds are done, so start over
        else:
            assert "Traceback" not in output
    print(kills)
