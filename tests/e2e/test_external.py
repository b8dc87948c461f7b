"""The commands of docs/deployment/other-organisations.md, with a server and two organisations."""

import os
import re
import shutil
import signal
import socket
import subprocess

import psutil
import pytest
import yaml
from checkout import ROOT
from orphan_processes import wait_until
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
    output, _ = process.communicate(timeout=400)
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


@pytest.mark.engine
def test_guide_trains_the_same_adapter_as_a_simulation(server, start_client, tmp_path, tiny_model):
    """The SuperNode of north and the server are killed during the run."""
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

    train = find_commands("cores all\n").replace("cores all", "cores 2")
    process = start_commands(server, train)
    wait_for_round(server, process, 1)
    subprocess.run(["docker", "kill", "supernode-north"], check=True, capture_output=True)
    # --rm takes a moment
    gone = "while docker container inspect supernode-north; do sleep 0.2; done"
    subprocess.run(["bash", "-c", gone], check=True, capture_output=True, timeout=60)
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


def wait_for_round(server, process, number):
    """Wait until the checkpoint of a round is written."""

    def is_done():
        assert process.poll() is None, process.communicate()[0]
        return list(server.glob(f"results/checkpoints/together/*/round-{number:05}"))

    wait_until(is_done)
