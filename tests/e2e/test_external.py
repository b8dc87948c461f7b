"""Clients run their own SuperNodes as docs/deployment/other-organisations.md says."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml
from checkouts import ROOT, small_workflow, snakemake

from blossomtune.files import compute_file_sha256, read_json

GUIDE = (ROOT / "docs/deployment/other-organisations.md").read_text()
CLIENTS = ("north", "south")
ROUNDS = 5


def find_commands(text):
    """Return the block of commands of the guide that contains a text."""
    [match] = [block for block in re.findall(r"```bash\n(.*?)```", GUIDE, re.S) if text in block]
    return match


def run_commands(folder, commands):
    """Start commands of the guide in a folder."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.Popen(
        ["bash", "-euc", commands],
        cwd=folder,
        env=os.environ | {"PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def wait_for_success(process):
    """Wait until a process ends without an error; return its output."""
    output, _ = process.communicate(timeout=400)
    assert process.returncode == 0, output
    return output


@pytest.fixture
def server(engine, tiny_model, tmp_path):
    """Return a checkout with the guide's configuration and a simulation of its federation."""
    import docker

    engine("docker")
    bridge = docker.from_env().networks.get("bridge").attrs["Options"]
    addresses = psutil.net_if_addrs()[bridge["com.docker.network.bridge.name"]]
    [host] = [a.address for a in addresses if a.family == socket.AF_INET]
    block = re.search(r"```yaml\n(.*?)```", GUIDE, re.S)[1]
    block = block.replace("federation.example.org", host)
    home = tmp_path / "server"
    home.mkdir()
    small_workflow(home, tiny_model)
    file = home / "config/config.yaml"
    data = yaml.safe_load(file.read_text())
    guide = yaml.safe_load(block)
    data["datasets"] = {"reports": data["datasets"]["words"]}
    data["datasets"]["reports"]["test"] = {"size": "all"}
    partition = guide["partitions"]["clinics"]
    paths = {name: f"{name}.csv" for name in partition.pop("clients")}
    data["partitions"] = guide["partitions"] | {"here": partition | {"paths": paths}}
    partition["clients"] = list(paths)
    small = data["experiments"]["small"]
    small["training"]["optimizer_state"] = "kept"
    small["federation"] = {"rounds": ROUNDS}
    together = guide["experiments"]["together"]
    together["federation"] |= small["federation"]
    data["experiments"] = {
        "simulated": small | {"partition": "here"},
        "together": small | together,
    }
    file.write_text(yaml.safe_dump(data | {"run": ["together"]}))
    return home


@pytest.fixture
def clients(tmp_path):
    """Return a function that starts a client in its folder."""

    def start(name):
        return wait_for_success(
            run_commands(tmp_path / name, find_commands("docker run").replace("north", name))
        )

    yield start
    for name in CLIENTS:
        subprocess.run(["docker", "rm", "--force", f"supernode-{name}"], capture_output=True)


@pytest.mark.engine
def test_guide_trains_although_client_and_server_are_killed(server, clients, tmp_path, tiny_model):
    """The adapter is the simulation's, and the server never has the clients' rows."""
    head, *rows = (server / "words.csv").read_text().splitlines()
    (server / "words.csv").write_text("\n".join([head, *rows[:20]]) + "\n")
    assert "for north: keys/invitations/together/north" in wait_for_success(
        run_commands(server, find_commands("invite"))
    )
    for number, name in enumerate(CLIENTS):
        shutil.copytree(server / "keys/invitations/together" / name, tmp_path / name)
        shutil.copytree(tiny_model, tmp_path / name / "model")
        lines = rows[20 + 28 * number : 48 + 28 * number]
        lines = [f"secret{name}{line}" for line in lines]
        (tmp_path / name / "rows.csv").write_text("\n".join([head, *lines]) + "\n")
        clients(name)

    train = find_commands("cores all\n").replace("cores all", "cores 2")
    folder = server / "results/checkpoints/together"
    running = run_commands(server, train)
    wait_until(running, lambda: list(folder.glob("*/round-00001")))
    subprocess.run(["docker", "kill", "supernode-north"], check=True, capture_output=True)
    clients("north")
    wait_until(running, lambda: list(folder.glob("*/round-00003")))
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate()
    wait_for_success(
        run_commands(server, f"snakemake --unlock; {train.strip()} --rerun-incomplete")
    )

    history = read_json(server / "results/experiments/together/history.json")
    assert [len(r["clients"]) for r in history["rounds"]] == [0] + [2] * ROUNDS
    page = (server / "results/report/index.html").read_text()
    assert "Two clients, each with rows that stay with it" in page
    for file in server.rglob("*"):
        assert not file.is_file() or b"secretnorth" not in file.read_bytes(), file
    for name in CLIENTS:
        output = wait_for_success(
            run_commands(tmp_path, f"docker logs supernode-{name}; docker stop supernode-{name}")
        )
        assert "28 rows" in output
        shutil.copy(tmp_path / name / "rows.csv", server / f"{name}.csv")
    snakemake(server, "results/experiments/simulated/adapter")
    one, two = (
        server / "results/experiments" / name / "adapter/adapter_model.safetensors"
        for name in ("simulated", "together")
    )
    assert compute_file_sha256(one) == compute_file_sha256(two)


def wait_until(process, condition):
    """Wait until a condition is true, while a process runs."""
    end = time.monotonic() + 300
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end
        time.sleep(0.2)
