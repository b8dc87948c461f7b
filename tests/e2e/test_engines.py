"""One federation on every engine that this host has, and what can go wrong there."""

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest
from leftovers import guarded, until

from blossomtune.config.engines import ProcessEngine
from blossomtune.deployment.backend import SUPERLINK, ProcessSpec
from blossomtune.deployment.keys import KeyStore
from blossomtune.deployment.subprocess_backend import SubprocessBackend
from blossomtune.files import compute_file_sha256, read_json

KEYS = {"rounds": 3, "optimizer_state": "kept"}
NO_GPU = "federation.gpus_per_client is 0.5, and there is no GPU here: clients train on the CPU"


def finished(process):
    said, _ = process.communicate(timeout=600)
    assert process.returncode == 0, said
    return said


def weights(process):
    return compute_file_sha256(process.adapter / "adapter_model.safetensors")


def family(process, kind):
    """The processes below one of a kind (supernode, trainer), by client."""
    found = {}
    for child in psutil.Process(process.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            name, _, client = child.name().partition("_")
            if name == kind and client:
                found[int(client)] = child
    return found


def has_round(process, number):
    """Waits until a round is done."""
    folder = process.adapter.parent / "checkpoints"

    def done():
        found = any(int(f.name[-5:]) >= number for f in folder.glob("*/round-?????"))
        assert found or process.poll() is None, process.stdout.read()
        return found

    until(done)


@pytest.fixture
def foreign(tmp_path):
    """Keys of somebody else."""
    keys = KeyStore(tmp_path / "foreign")
    keys.create_missing(["127.0.0.1"], clients=range(1))
    return keys


def knock(port, options):
    """What comes of the SuperNode that Flower itself brings, at a SuperLink on this host."""
    command = [Path(sys.executable).parent / "flower-supernode", "--isolation", "process"]
    command += ["--superlink", f"127.0.0.1:{port}", "--max-retries", "1", "--port", free()]
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
    """The federation of these tests, as a simulation."""
    process = federations(federation_files, engine="simulation", **KEYS)
    finished(process)
    return process


def test_processes_make_the_same_adapter_whoever_is_killed(
    simulated, federate, federation_files, foreign
):
    """A SuperNode and another one's trainer die in round 2; both come back and train again.

    Meanwhile strangers knock.
    """
    two = federate(federation_files, engine="process", gpus_per_client=0.5, **KEYS)
    has_round(two, 1)
    family(two, "supernode")[0].kill()
    family(two, "trainer")[1].kill()
    link = scratch(psutil.Process(two.pid).children(recursive=True)) / SUPERLINK
    for options in (["--insecure"], ["--root-certificates", foreign.ca_certificate]):
        assert knock(read_json(link / "superlink.json")["port"], options).returncode != 0
    said = finished(two)
    assert weights(simulated) == weights(two), said
    assert NO_GPU in said
    assert "supernode_0 ended with -9" in said
    assert "the trainer of client 1 was killed by signal 9" in said
    rounds = read_json(two.history)["rounds"]
    assert [len(r["clients"]) for r in rounds] == [0, 3, 3, 3]
    assert {path.name for path in two.logs.iterdir()} == {
        "superlink.log",
        *(f"supernode_{i}.log" for i in range(3)),
    }


@pytest.mark.engine
@pytest.mark.parametrize("name", ["docker", "apptainer"])
def test_containers_make_the_same_adapter(
    engine, simulated, federate, federation_files, image, name
):
    engine(name)
    two = federate(federation_files, engine=image(name), gpus_per_client=0.5, **KEYS)
    said = finished(two)
    assert weights(simulated) == weights(two), said
    assert NO_GPU in said
    assert [len(r["clients"]) for r in read_json(two.history)["rounds"]] == [0, 3, 3, 3]


def test_a_killed_run_leaves_nothing_behind_and_told_no_key(federate, federation_files):
    """No key is in a log, on a command line, or in the environment of a process."""
    process = federate(federation_files, engine="process", **(KEYS | {"rounds": 50}))
    has_round(process, 1)
    children = psutil.Process(process.pid).children(recursive=True)
    # the guard, the SuperLink, two that SuperNodes are forked by, they and their trainers
    assert len(children) == 1 + 1 + 2 + 3 * 2
    folder = scratch(children) / "keys"
    secrets = [path.read_text() for path in folder.iterdir() if "PRIVATE" in path.read_text()]
    assert len(secrets) >= 1 + 3  # the SuperLink's and the SuperNodes'
    told = [" ".join(c.cmdline()) + str(c.environ()) for c in (psutil.Process(), *children)]
    process.kill()
    said, _ = process.communicate(timeout=60)
    _, alive = psutil.wait_procs(children, timeout=30)
    assert alive == []
    assert not folder.parent.exists()
    told += [said, *(log.read_text() for log in process.logs.iterdir())]
    for secret in secrets:
        for line in secret.splitlines():
            assert "PRIVATE" in line or not any(line in text for text in told)


def scratch(children):
    """The folder of a run, which its guard removes."""
    [folder] = guarded(children)
    return folder


@pytest.mark.engine
@pytest.mark.parametrize(
    ("name", "number"), [("docker", signal.SIGKILL), ("apptainer", signal.SIGTERM)]
)
def test_a_run_that_ends_leaves_no_container_behind(
    engine, federate, federation_files, image, name, number
):
    """Neither a network, nor a folder."""
    engine(name)
    chosen = image(name)
    process = federate(federation_files, engine=chosen, **(KEYS | {"rounds": 50}))
    has_round(process, 1)
    children = psutil.Process(process.pid).children(recursive=True)
    folder = scratch(children)
    if name == "docker":
        assert len(left_in_docker(folder)) == 1 + 3 + 1
    process.send_signal(number)
    process.wait(60)
    _, alive = psutil.wait_procs(children, timeout=60)
    assert alive == []
    assert not folder.exists()
    if name == "docker":
        assert left_in_docker(folder) == []


def left_in_docker(folder):
    """Containers and networks of a run."""
    import docker

    label = {"label": f"ai.blossomtune.run={folder.name}"}
    client = docker.from_env()
    return client.containers.list(all=True, filters=label) + client.networks.list(filters=label)


@pytest.mark.engine
def test_a_dead_superlink_stops_the_run_which_then_goes_on(
    engine, simulated, federate, federation_files
):
    engine("process")
    process = federate(federation_files, engine="process", **KEYS)
    has_round(process, 1)
    [link] = [c for c in psutil.Process(process.pid).children() if c.name() == SUPERLINK]
    link.kill()
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "error: superlink ended with -9" in said, said
    checkpoints = process.adapter.parent / "checkpoints"
    again = federate(federation_files, engine="process", checkpoints=checkpoints, **KEYS)
    said = finished(again)
    assert "going on after round" in said
    assert weights(again) == weights(simulated)


@pytest.fixture(scope="module")
def superlink(tmp_path_factory):
    """A SuperLink that nobody is registered with: its port, keys, log and socket."""
    home = tmp_path_factory.mktemp("superlink")
    keys = KeyStore(home / "keys")
    keys.create_missing(["127.0.0.1"], clients=range(1))
    part = ProcessSpec(SUPERLINK, ("--key-dir", str(keys.folder)), home / SUPERLINK)
    part.home.mkdir()
    with SubprocessBackend(home, home, ProcessEngine(name="process")) as running:
        running.start(part)
        until((part.home / "superlink.json").exists)
        port = read_json(part.home / "superlink.json")["port"]
        yield port, keys, home / "superlink.log", part.home / "superlink.sock"


@pytest.mark.parametrize(
    ("who", "said"),
    [
        ("foreign key", "Failed to activate SuperNode"),
        ("no key", "All SuperNodes must be registered"),
        ("another authority", "certificate verify failed"),
        ("plain text", "Server disconnected without sending a response"),
    ],
)
def test_strangers_are_turned_away(superlink, foreign, who, said):
    port, keys, log, _ = superlink
    trusting = ["--root-certificates", keys.ca_certificate]
    options = {
        "foreign key": [*trusting, "--auth-supernode-private-key", foreign.supernode_key(0)],
        "no key": trusting,
        "another authority": ["--root-certificates", foreign.ca_certificate],
        "plain text": ["--insecure"],
    }[who]
    ran = knock(port, options)
    assert ran.returncode != 0
    assert said in ran.stdout + ran.stderr
    turned_away = {
        "another authority": "a connection was turned away: TLSV1_ALERT_",
        "plain text": "a connection was turned away: HTTP_REQUEST",
    }
    assert turned_away.get(who, "") in log.read_text()
    if "key" in who:
        assert "Attempted to register SuperNode with public key" in log.read_text()


def test_the_port_for_supernodes_starts_no_runs(superlink):
    """Neither does the socket for others than this user."""
    port, keys, _, socket = superlink
    with httpx.Client(verify=str(keys.ca_certificate)) as client:
        for path in ("control/start-run", "runtime/acquire-task", "runtime/push-messages"):
            assert client.post(f"https://127.0.0.1:{port}/v1/{path}").status_code == 404
    assert socket.stat().st_mode & 0o777 == 0o600
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(socket))) as client:
        assert client.post("http://localhost/v1/control/start-run").status_code != 404


def free():
    """A port that is free at the moment."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]
