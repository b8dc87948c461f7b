"""One federation on every engine, killed processes, and SuperNodes without the right keys."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx
import psutil
import pytest
from federate_process import EXPECTED_KEYS, wait_for_exit
from patience import PATIENCE, wait_until

from blossomtune.artifacts.audit_events import ClientJoined
from blossomtune.artifacts.audit_log import AUDIT_LOG_FILE
from blossomtune.auditing.verify_results import verify_results
from blossomtune.config.engines import ProcessEngine
from blossomtune.deployment.backend import SUPERLINK, ProcessSpec
from blossomtune.deployment.docker_engine import RUN_LABEL
from blossomtune.deployment.keys import KeyStore
from blossomtune.deployment.subprocess_backend import SubprocessBackend
from blossomtune.files import read_json

NO_GPU = "federation.gpus_per_client is 0.5, and there is no GPU here: clients train on the CPU"


@pytest.fixture
def foreign_keys(tmp_path):
    """Return keys that the SuperLink under test does not know."""
    keys = KeyStore(tmp_path / "foreign")
    keys.create_missing(["127.0.0.1"], clients=range(1))
    return keys


def connect_supernode(port, options):
    """Run Flower's own SuperNode against a SuperLink on this host; return the finished process."""
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
            [str(item) for item in (*command, *options)],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            env=os.environ | {"FLWR_HOME": home, "FLWR_TELEMETRY_ENABLED": "0"},
        )


def find_free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def test_process_engine_restarts_killed_processes_and_makes_the_same_adapter(
    expected_hash, federate, federation_files, foreign_keys
):
    """A SuperNode and another one's trainer are killed in round 2; foreign SuperNodes connect."""
    process = federate(federation_files, engine="process", gpus_per_client=0.5, **EXPECTED_KEYS)
    process.wait_for_round(1)
    process.find_children("supernode")[0].kill()
    process.find_children("trainer")[1].kill()
    port = read_json(process.get_run_folder() / SUPERLINK / "superlink.json")["port"]
    for options in (["--insecure"], ["--root-certificates", foreign_keys.ca_certificate]):
        assert connect_supernode(port, options).returncode != 0
    output = process.finish()
    assert process.hash_adapter() == expected_hash, output
    assert NO_GPU in output
    assert "supernode_0 ended with -9" in output
    assert "the trainer of client 1 was killed by signal 9" in output
    assert process.list_clients() == [[0, 1, 2]] * 3
    assert {path.name for path in process.logs.iterdir()} == {
        "superlink.log",
        *(f"supernode_{i}.log" for i in range(3)),
    }
    entries = verify_results(process.adapter.parent, process.checkpoints / AUDIT_LOG_FILE)
    joined = [entry.event for entry in entries if isinstance(entry.event, ClientJoined)]
    assert sorted(event.client for event in joined) == [0, 1, 2]
    assert len({event.key for event in joined if event.key}) == 3


def test_killed_run_leaves_nothing_behind_and_exposes_no_key(federate, federation_files):
    """No key is in a log, on a command line, or in the environment of a process."""
    process = federate(federation_files, engine="process", **(EXPECTED_KEYS | {"rounds": 50}))
    process.wait_for_round(1)
    children = process.list_children()
    # reaper, SuperLink, two processes that fork SuperNodes, three SuperNodes and their trainers
    assert len(children) == 1 + 1 + 2 + 3 * 2
    folder = process.get_run_folder() / "keys"
    secrets = [path.read_text() for path in folder.iterdir() if "PRIVATE" in path.read_text()]
    assert len(secrets) >= 1 + 3  # the SuperLink's and the SuperNodes'
    texts = [" ".join(c.cmdline()) + str(c.environ()) for c in (psutil.Process(), *children)]
    process.kill()
    output, _ = process.communicate(timeout=60)
    wait_for_exit(children)
    assert not folder.parent.exists()
    texts += [output, *(log.read_text() for log in process.logs.iterdir())]
    for secret in secrets:
        for line in secret.splitlines():
            assert "PRIVATE" in line or not any(line in text for text in texts)


@pytest.mark.engine
@pytest.mark.parametrize(
    ("name", "number"), [("docker", signal.SIGKILL), ("apptainer", signal.SIGTERM)]
)
def test_stopped_run_leaves_nothing_behind_and_the_next_run_makes_the_same_adapter(
    engine, expected_hash, federate, federation_files, container_engine, name, number
):
    engine(name)
    keys = EXPECTED_KEYS | {"engine": container_engine(name), "gpus_per_client": 0.5}
    process = federate(federation_files, **keys)
    process.wait_for_round(1)
    children, folder = process.list_children(), process.get_run_folder()
    if name == "docker":
        assert len(list_docker_resources(folder)) == 1 + 3 + 1
    process.send_signal(number)
    process.wait(60)
    wait_for_exit(children, 60)
    assert not folder.exists()
    if name == "docker":
        assert list_docker_resources(folder) == []
    resumed = federate(federation_files, checkpoints=process.checkpoints, **keys)
    output = resumed.finish()
    assert "going on after round" in output
    assert NO_GPU in output
    assert resumed.hash_adapter() == expected_hash, output
    assert resumed.list_clients() == [[0, 1, 2]] * 3


def list_docker_resources(folder):
    """Return the containers and networks of a run."""
    import docker

    label = {"label": f"{RUN_LABEL}={folder.name}"}
    client = docker.from_env()
    return client.containers.list(all=True, filters=label) + client.networks.list(filters=label)


@pytest.fixture(scope="module")
def superlink(tmp_path_factory):
    """Start a SuperLink without registered SuperNodes; return its port, keys, log and socket."""
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
    ("supernode", "message"),
    [
        ("foreign key", "Failed to activate SuperNode"),
        ("no key", "All SuperNodes must be registered"),
        ("another authority", "certificate verify failed"),
        ("plain text", "Server disconnected without sending a response"),
    ],
)
def test_supernode_without_the_right_keys_is_rejected(superlink, foreign_keys, supernode, message):
    port, keys, log, _ = superlink
    trusted = ["--root-certificates", keys.ca_certificate]
    options = {
        "foreign key": [*trusted, "--auth-supernode-private-key", foreign_keys.supernode_key(0)],
        "no key": trusted,
        "another authority": ["--root-certificates", foreign_keys.ca_certificate],
        "plain text": ["--insecure"],
    }[supernode]
    result = connect_supernode(port, options)
    assert result.returncode != 0
    assert message in result.stdout + result.stderr
    log_lines = {
        "another authority": "a connection was turned away: TLSV1_ALERT_",
        "plain text": "a connection was turned away: HTTP_REQUEST",
    }
    assert log_lines.get(supernode, "") in log.read_text()
    if "key" in supernode:
        assert "Attempted to register SuperNode with public key" in log.read_text()


def test_supernode_port_starts_no_runs_and_the_socket_is_private(superlink):
    port, keys, _, control_socket = superlink
    with httpx.Client(verify=str(keys.ca_certificate)) as client:
        for path in ("control/start-run", "runtime/acquire-task", "runtime/push-messages"):
            assert client.post(f"https://127.0.0.1:{port}/v1/{path}").status_code == 404
    assert control_socket.stat().st_mode & 0o777 == 0o600
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(control_socket))) as client:
        assert client.post("http://localhost/v1/control/start-run").status_code != 404
