"""Clients with their own SuperNodes and networks, by docs/deployment/other-organisations.md."""

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


def commands(words):
    """The commands of the guide that have these words in them."""
    [found] = [block for block in re.findall(r"```bash\n(.*?)```", GUIDE, re.S) if words in block]
    return found


def follow(where, block):
    """Does what the guide says, in a folder."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.Popen(
        ["bash", "-euc", block],
        cwd=where,
        env=os.environ | {"PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def done(process):
    """What it said, once it has ended well."""
    said, _ = process.communicate(timeout=400)
    assert process.returncode == 0, said
    return said


@pytest.fixture
def server(engine, tiny_model, tmp_path):
    """A checkout with the guide's configuration, and one that simulates the same federation."""
    import docker

    engine("docker")
    bridge = docker.from_env().networks.get("bridge").attrs["Options"]
    addresses = psutil.net_if_addrs()[bridge["com.docker.network.bridge.name"]]
    [host] = [a.address for a in addresses if a.family == socket.AF_INET]
    told = re.search(r"```yaml\n(.*?)```", GUIDE, re.S)[1]
    told = told.replace("federation.example.org", host)
    home = tmp_path / "server"
    home.mkdir()
    small_workflow(home, tiny_model)
    file = home / "config/config.yaml"
    data = yaml.safe_load(file.read_text())
    guide = yaml.safe_load(told)
    data["datasets"] = {"reports": data["datasets"]["words"]}
    data["datasets"]["reports"]["test"] = {"size": "all"}
    ours = guide["partitions"]["clinics"]
    here = {name: f"{name}.csv" for name in ours.pop("clients")}
    data["partitions"] = guide["partitions"] | {"here": ours | {"paths": here}}
    ours["clients"] = list(here)
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
    """A function that makes the clients' folders of what they are sent, and starts them."""

    def start(name):
        return done(follow(tmp_path / name, commands("docker run").replace("north", name)))

    yield start
    for name in CLIENTS:
        subprocess.run(["docker", "rm", "--force", f"supernode-{name}"], capture_output=True)


@pytest.mark.engine
def test_the_guide(server, clients, tmp_path, tiny_model):
    """North's SuperNode is killed in the middle, and the server, too."""
    head, *rows = (server / "words.csv").read_text().splitlines()
    (server / "words.csv").write_text("\n".join([head, *rows[:20]]) + "\n")
    assert "for north: keys/invitations/together/north" in done(follow(server, commands("invite")))
    for number, name in enumerate(CLIENTS):
        shutil.copytree(server / "keys/invitations/together" / name, tmp_path / name)
        shutil.copytree(tiny_model, tmp_path / name / "model")
        mine = rows[20 + 28 * number : 48 + 28 * number]
        mine = [f"secret{name}{line}" for line in mine]
        (tmp_path / name / "rows.csv").write_text("\n".join([head, *mine]) + "\n")
        clients(name)

    train = commands("cores all\n").replace("cores all", "cores 2")
    folder = server / "results/checkpoints/together"
    running = follow(server, train)
    wait(running, lambda: list(folder.glob("*/round-00001")))
    subprocess.run(["docker", "kill", "supernode-north"], check=True, capture_output=True)
    clients("north")
    wait(running, lambda: list(folder.glob("*/round-00003")))
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate()
    done(follow(server, f"snakemake --unlock; {train.strip()} --rerun-incomplete"))

    history = read_json(server / "results/experiments/together/history.json")
    assert [len(r["clients"]) for r in history["rounds"]] == [0] + [2] * ROUNDS
    page = (server / "results/report/index.html").read_text()
    assert "Two clients, each with rows that stay with it" in page
    for file in server.rglob("*"):
        assert not file.is_file() or b"secretnorth" not in file.read_bytes(), file
    for name in CLIENTS:
        said = done(follow(tmp_path, f"docker logs supernode-{name}; docker stop supernode-{name}"))
        assert "28 rows" in said
        shutil.copy(tmp_path / name / "rows.csv", server / f"{name}.csv")
    snakemake(server, "results/experiments/simulated/adapter")
    one, two = (
        server / "results/experiments" / name / "adapter/adapter_model.safetensors"
        for name in ("simulated", "together")
    )
    assert compute_file_sha256(one) == compute_file_sha256(two)


def wait(process, condition):
    """Waits while a process runs."""
    end = time.monotonic() + 300
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end
        time.sleep(0.2)
