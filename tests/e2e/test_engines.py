"""One federation on each engine of this machine, with failures of its processes."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx
import psutil
import pytest
from leftovers import wait_until
from running import (
    SETTINGS,
    find_children,
    find_scratch_dir,
    hash_adapter,
    wait_for_round,
    wait_for_success,
)

from blossomtune.config.engines import ProcessEngine
from blossomtune.deployment.backend import SUPERLINK, ProcessSpec
from blossomtune.deployment.keys import KeyStore
from blossomtune.deployment.subprocess_backend import SubprocessBackend
from blossomtune.files import read_json

NO_GPU_WARNING = (
    "federation.gpus_per_client is 0.5, and there is no GPU here: clients train on the CPU"
)


@pytest.fixture
def foreign_keys(tmp_path):
    """Return keys of another federation."""
    keys = KeyStore(tmp_path / "foreign")
    keys.create_missing(["127.0.0.1"], clients=range(1))
    return keys


def connect_supernode(port, options):
    """Return the result of Flower's own SuperNode at a SuperLink on this machine."""
    command = [Path(sys.executable).parent / "flower-supernode", "--isolation", "process"]
    command += [
        "--superlink",
        f"127.0.0.1:{port}",
        "--max-retries",
        "1",
        "--port",
        find_free_port(),
    ]
    with tempfile.TemporaryDirectory() as home:
        return subprocess.run(
            [str(word) for word in (*command, *options)],
            capture_output=True,
            text=True,
            timeout=60,
            env=os.environ | {"FLWR_HOME": home, "FLWR_TELEMETRY_ENABLED": "0"},
        )


@pytest.fixture(scope="module")
def simulated(federations, federation_files):
    """Return the finished simulation of the same federation."""
    process = federations(federation_files, engine="simulation", **SETTINGS)
    wait_for_success(process)
    return process


def test_processes_make_the_same_adapter_after_kills(
    simulated, federate, federation_files, foreign_keys
):
    """Kill a SuperNode and another one's trainer in round 2, so that both are restarted.

    Meanwhile SuperNodes with foreign keys try to connect.
    """
    process = federate(federation_files, engine="process", gpus_per_client=0.5, **SETTINGS)
    wait_for_round(process, 1)
    find_children(process, "supernode")[0].kill()
    find_children(process, "trainer")[1].kill()
    link = find_scratch_dir(psutil.Process(process.pid).children(recursive=True)) / SUPERLINK
    for options in (["--insecure"], ["--root-certificates", foreign_keys.ca_certificate]):
        assert (
            connect_supernode(read_json(link / "superlink.json")["port"], options).returncode != 0
        )
    output = wait_for_success(process)
    assert hash_adapter(simulated) == hash_adapter(process), output
    assert NO_GPU_WARNING in output
    assert "supernode_0 ended with -9" in output
    assert "the trainer of client 1 was killed by signal 9" in output
    rounds = read_json(process.history)["rounds"]
    assert [len(r["clients"]) for r in rounds] == [0, 3, 3, 3]
    assert {path.name for path in process.logs.iterdir()} == {
        "superlink.log",
        *(f"supernode_{i}.log" for i in range(3)),
    }


@pytest.mark.engine
@pytest.mark.parametrize("name", ["docker", "apptainer"])
def test_containers_make_the_same_adapter(
    engine, simulated, federate, federation_files, image, name
):
    engine(name)
    process = federate(federation_files, engine=image(name), gpus_per_client=0.5, **SETTINGS)
    output = wait_for_success(process)
    assert hash_adapter(simulated) == hash_adapter(process), output
    assert NO_GPU_WARNING in output
    assert [len(r["clients"]) for r in read_json(process.history)["rounds"]] == [0, 3, 3, 3]


def test_killed_run_leaves_nothing_behind_and_leaks_no_key(federate, federation_files):
    """No key is in a log, on a command line, or in the environment of a process."""
    process = federate(federation_files, engine="process", **(SETTINGS | {"rounds": 50}))
    wait_for_round(process, 1)
    children = psutil.Process(process.pid).children(recursive=True)
    # reaper, SuperLink, two processes of the forkserver, SuperNodes and their trainers
    assert len(children) == 1 + 1 + 2 + 3 * 2
    folder = find_scratch_dir(children) / "keys"
    secrets = [path.read_text() for path in folder.iterdir() if "PRIVATE" in path.read_text()]
    assert len(secrets) >= 1 + 3  # the SuperLink's and the SuperNodes'
    texts = [" ".join(c.cmdline()) + str(c.environ()) for c in (psutil.Process(), *children)]
    process.kill()
    output, _ = process.communicate(timeout=60)
    _, alive = psutil.wait_procs(children, timeout=30)
    assert alive == []
    assert not folder.parent.exists()
    texts += [output, *(log.read_text() for log in process.logs.iterdir())]
    for secret in secrets:
        for line in secret.splitlines():
            assert "PRIVATE" in line or not any(line in text for text in texts)


@pytest.mark.engine
@pytest.mark.parametrize(
    ("name", "number"), [("docker", signal.SIGKILL), ("apptainer", signal.SIGTERM)]
)
def test_run_that_ends_leaves_no_container_behind(
    engine, federate, federation_files, image, name, number
):
    """No network and no folder is left, either."""
    engine(name)
    block = image(name)
    process = federate(federation_files, engine=block, **(SETTINGS | {"rounds": 50}))
    wait_for_round(process, 1)
    children = psutil.Process(process.pid).children(recursive=True)
    folder = find_scratch_dir(children)
    if name == "docker":
        assert len(list_docker_objects(folder)) == 1 + 3 + 1
    process.send_signal(number)
    process.wait(60)
    _, alive = psutil.wait_procs(children, timeout=60)
    assert alive == []
    assert not folder.exists()
    if name == "docker":
        assert list_docker_objects(folder) == []


def list_docker_objects(folder):
    """Return the containers and networks of a run."""
    import docker

    label = {"label": f"ai.blossomtune.run={folder.name}"}
    client = docker.from_env()
    return client.containers.list(all=True, filters=label) + client.networks.list(filters=label)


@pytest.mark.engine
def test_run_stops_with_its_superlink_and_can_be_resumed(
    engine, simulated, federate, federation_files
):
    engine("process")
    process = federate(federation_files, engine="process", **SETTINGS)
    wait_for_round(process, 1)
    [link] = [c for c in psutil.Process(process.pid).children() if c.name() == SUPERLINK]
    link.kill()
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "error: superlink ended with -9" in output, output
    checkpoints = process.adapter.parent / "checkpoints"
    again = federate(federation_files, engine="process", checkpoints=checkpoints, **SETTINGS)
    output = wait_for_success(again)
    assert "going on after round" in output
    assert hash_adapter(again) == hash_adapter(simulated)


@pytest.fixture(scope="module")
def superlink(tmp_path_factory):
    """Yield port, keys, log and socket of a SuperLink without registered SuperNodes."""
    home = tmp_path_factory.mktemp("superlink")
    keys = KeyStore(home / "keys")
    keys.create_missing(["127.0.0.1"], clients=range(1))
    spec = ProcessSpec(SUPERLINK, ("--key-dir", str(keys.folder)), home / SUPERLINK)
    spec.home.mkdir()
    with SubprocessBackend(home, home, ProcessEngine(name="process")) as backend:
        backend.start(spec)
        wait_until((spec.home / "superlink.json").exists)
        port = read_json(spec.home / "superlink.json")["port"]
        yield port, keys, home / "superlink.log", spec.home / "superlink.sock"


@pytest.mark.parametrize(
    ("stranger", "message"),
    [
        ("foreign key", "Failed to activate SuperNode"),
        ("no key", "All SuperNodes must be registered"),
        ("another authority", "certificate verify failed"),
        ("plain text", "Server disconnected without sending a response"),
    ],
)
def test_strangers_are_rejected(superlink, foreign_keys, stranger, message):
    port, keys, log, _ = superlink
    trusted = ["--root-certificates", keys.ca_certificate]
    options = {
        "foreign key": [*trusted, "--auth-supernode-private-key", foreign_keys.supernode_key(0)],
        "no key": trusted,
        "another authority": ["--root-certificates", foreign_keys.ca_certificate],
        "plain text": ["--insecure"],
    }[stranger]
    process = connect_supernode(port, options)
    assert process.returncode != 0
    assert message in process.stdout + process.stderr
    rejections = {
        "another authority": "a connection was turned away: TLSV1_ALERT_",
        "plain text": "a connection was turned away: HTTP_REQUEST",
    }
    assert rejections.get(stranger, "") in log.read_text()
    if "key" in stranger:
        assert "Attempted to register SuperNode with public key" in log.read_text()


def test_port_for_supernodes_starts_no_runs(superlink):
    """The socket that does is accessible to this user only."""
    port, keys, _, socket = superlink
    with httpx.Client(verify=str(keys.ca_certificate)) as client:
        for path in ("control/start-run", "runtime/acquire-task", "runtime/push-messages"):
            assert client.post(f"https://127.0.0.1:{port}/v1/{path}").status_code == 404
    assert socket.stat().st_mode & 0o777 == 0o600
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(socket))) as client:
        assert client.post("http://localhost/v1/control/start-run").status_code != 404


def find_free_port():
    """Return a port that is free at the moment."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]
