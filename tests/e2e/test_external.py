"""The commands of docs/deployment/other-organisations.md, with a server and two organisations."""

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from contextlib import contextmanager

import psutil
import pytest
import yaml
from checkout import ROOT
from patience import PATIENCE, wait_until
from small_workflow import PATH, create_small_workflow, run_snakemake, write_config

from blossomtune.files import compute_file_sha256, read_json

GUIDE = (ROOT / "docs/deployment/other-organisations.md").read_text()
CLIENTS = ("north", "south")
ROUNDS = 5


def find_commands(text):
    """Return the guide's block of commands that contains a text."""
    blocks = re.findall(r"```bash\n(.*?)```", GUIDE, re.S)
    [block] = [block for block in blocks if text in block]
    return block


def start_commands(folder, commands):
    """Start commands of the guide in a folder; return the process."""
    return subprocess.Popen(
        ["bash", "-euc", commands],
        cwd=folder,
        env=os.environ | {"PATH": PATH},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run_commands(folder, commands):
    """Run commands of the guide in a folder until they succeed; return their output."""
    process = start_commands(folder, commands)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output
    return output


@pytest.fixture
def server(engine, tiny_model, tmp_path):
    """Return a workflow with the guide's experiment and one that simulates the same clients."""
    import docker

    engine("docker")
    bridge = docker.from_env().networks.get("bridge").attrs["Options"]
    addresses = psutil.net_if_addrs()[bridge["com.docker.network.bridge.name"]]
    [host] = [a.address for a in addresses if a.family == socket.AF_INET]
    guide_config = re.search(r"```yaml\n(.*?)```", GUIDE, re.S)[1]
    guide = yaml.safe_load(guide_config.replace("federation.example.org", host))
    home = create_small_workflow(tmp_path / "server", tiny_model)
    data = yaml.safe_load((home / "config/config.yaml").read_text())
    data["datasets"] = {"reports": data["datasets"]["words"]}
    data["datasets"]["reports"]["test"] = {"size": "all"}
    clinics = guide["partitions"]["clinics"]
    paths = {name: f"{name}.csv" for name in clinics.pop("clients")}
    data["partitions"] = guide["partitions"] | {"here": clinics | {"paths": paths}}
    clinics["clients"] = list(paths)
    small = data["experiments"]["small"]
    small["training"]["optimizer_state"] = "kept"
    small["federation"] = {"rounds": ROUNDS}
    together = guide["experiments"]["together"]
    together["federation"] |= small["federation"]
    data["experiments"] = {
        "simulated": small | {"partition": "here"},
        "together": small | together,
    }
    write_config(home, data | {"run": ["together"]})
    return home


@pytest.fixture
def start_client(tmp_path):
    """Return a function that starts the SuperNode of a client in its folder."""

    def start(name):
        return run_commands(tmp_path / name, find_commands("docker run").replace("north", name))

    yield start
    for name in CLIENTS:
        subprocess.run(["docker", "rm", "--force", f"supernode-{name}"], capture_output=True)


@pytest.fixture
def invite_and_join(server, start_client, tmp_path, tiny_model):
    """Return a function that invites the clients and starts them, each with 28 rows."""

    def join():
        head, *rows = (server / "words.csv").read_text().splitlines()
        (server / "words.csv").write_text("\n".join([head, *rows[:20]]) + "\n")
        output = run_commands(server, find_commands("invite"))
        assert "for north: keys/invitations/together/north" in output
        for number, name in enumerate(CLIENTS):
            shutil.copytree(server / "keys/invitations/together" / name, tmp_path / name)
            shutil.copytree(tiny_model, tmp_path / name / "model")
            own = [f"secret{name}{row}" for row in rows[20 + 28 * number : 48 + 28 * number]]
            (tmp_path / name / "rows.csv").write_text("\n".join([head, *own]) + "\n")
            start_client(name)

    return join


@pytest.mark.engine
def test_guide_trains_the_same_adapter_as_a_simulation(
    server, invite_and_join, start_client, tmp_path
):
    """The SuperNode of north and the server are killed during the run."""
    invite_and_join()
    train = find_commands("cores all\n").replace("cores all", "cores 2")
    process = start_commands(server, train)
    wait_for_round(server, process, 1)
    subprocess.run(["docker", "kill", "supernode-north"], check=True, capture_output=True)
    # --rm takes a moment
    gone = "while docker container inspect supernode-north; do sleep 0.2; done"
    subprocess.run(["bash", "-c", gone], check=True, capture_output=True, timeout=PATIENCE)
    start_client("north")
    wait_for_round(server, process, 3)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    run_commands(server, f"snakemake --unlock; {train.strip()} --rerun-incomplete")

    history = read_json(server / "results/experiments/together/history.json")
    assert [len(r["clients"]) for r in history["rounds"]] == [0] + [2] * ROUNDS
    page = (server / "results/report/index.html").read_text()
    assert "Two clients, each with rows that stay with it" in page
    for file in server.rglob("*"):
        assert not file.is_file() or b"secretnorth" not in file.read_bytes(), file
    for name in CLIENTS:
        logs = f"docker logs supernode-{name}; docker stop supernode-{name}"
        assert "28 rows" in run_commands(tmp_path, logs)
        shutil.copy(tmp_path / name / "rows.csv", server / f"{name}.csv")
    run_snakemake(server, "results/experiments/simulated/adapter")
    simulated, together = (
        server / "results/experiments" / name / "adapter/adapter_model.safetensors"
        for name in ("simulated", "together")
    )
    assert compute_file_sha256(simulated) == compute_file_sha256(together)


@pytest.mark.engine
def test_network_may_be_lost_for_a_while(server, invite_and_join):
    """The link of south is down for less than ``round_timeout``, and later for longer.

    Flower takes a node for gone that misses its heartbeats for a minute.
    """
    data = yaml.safe_load((server / "config/config.yaml").read_text())
    federation = data["experiments"]["together"]["federation"]
    federation |= {"rounds": 60, "min_clients": 1, "round_timeout": 120}
    write_config(server, data)
    invite_and_join()
    for name in CLIENTS:  # the server waits for a client no longer than for a round
        logs = ["bash", "-c", f"docker logs supernode-{name} 2>&1"]
        wait_until(lambda logs=logs: b"28 rows" in subprocess.check_output(logs))
    process = start_commands(server, find_commands("cores all\n").replace("cores all", "cores 2"))
    wait_for_round(server, process, 1)
    with link_down("supernode-south"):
        time.sleep(70)
    rounds = list_rounds(server)
    wait_for_round(server, process, len(rounds) + 2)
    assert set(list_rounds(server)) == {"2 of 2 clients"}
    with link_down("supernode-south"):
        wait_until(lambda: "1 of 2 clients" in list_rounds(server))
        assert "failed: client 1 (south): no answer in 120 s" in read_log(server)
    wait_until(lambda: list_rounds(server)[-1] == "2 of 2 clients")
    os.killpg(process.pid, signal.SIGTERM)
    process.communicate(timeout=60)


def list_rounds(server):
    """Return how many clients took part in each round so far."""
    return re.findall(r"\d of 2 clients", read_log(server))


@contextmanager
def link_down(container):
    """Take down the link between a container and this host."""
    pid = subprocess.check_output(
        ["docker", "inspect", "--format", "{{.State.Pid}}", container], text=True
    ).strip()
    set_link = ["nsenter", "--target", pid, "--net", "ip", "link", "set", "eth0"]
    routes = subprocess.check_output([*set_link[:4], "ip", "route", "show", "default"], text=True)
    subprocess.run([*set_link, "down"], check=True)
    yield
    subprocess.run([*set_link, "up"], check=True)
    add_route = [*set_link[:4], "ip", "route", "replace", *routes.split()]
    subprocess.run(add_route, check=True)


def read_log(server):
    return (server / "results/logs/federate/together.log").read_text()


def wait_for_round(server, process, number):
    """Wait until the checkpoint of a round is written."""

    def is_done():
        assert process.poll() is None, process.communicate()[0]
        return list(server.glob(f"results/checkpoints/together/*/round-{number:05}"))

    wait_until(is_done)
