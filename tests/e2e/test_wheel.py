"""The commands of the documentation for machines that have the wheel and not this repository."""

import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
import sysconfig
from contextlib import contextmanager

import pytest
import yaml
from checkout import ROOT
from small_workflow import create_small_workflow, run_snakemake, write_config

from blossomtune.files import compute_file_sha256, read_json

pytestmark = pytest.mark.engine

NAMESPACE, SERVER, CLIENT = "blossomtune-test", "10.231.7.1", "10.231.7.2"
WEIGHTS = "adapter/adapter_model.safetensors"


def find_commands(page, text):
    """Return a page's block of commands that contains a text."""
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / "docs/deployment" / page).read_text(), re.S)
    [block] = [block for block in blocks if text in block]
    return block


@pytest.fixture(scope="module")
def wheel(engine, tmp_path_factory):
    engine("process")
    spec = importlib.util.spec_from_file_location("make_dist", ROOT / "envs/make_dist.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.build_dist(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def install(wheel):
    """Return a function that runs the guide's commands of an installation in a folder.

    pip takes this test's packages instead of its own copies, which would be 2 GB.
    """

    def run_commands(folder):
        shutil.copy(wheel, folder)
        commands = find_commands("other-organisations.md", "pip install").splitlines()[:2]
        commands[1] = commands[1].replace("install", "install --no-deps --no-index")
        subprocess.run(["bash", "-euc", "\n".join(commands)], cwd=folder, check=True)
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        packages = folder / "environment/lib" / version / "site-packages"
        (packages / "packages.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")

    return run_commands


def start_commands(folder, commands, *prefix):
    """Start commands as on a machine without this repository; return the process."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.Popen(
        [*prefix, "bash", "-euc", commands],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@contextmanager
def network_namespace():
    """Create a network namespace that reaches this one through a cable."""

    def ip(*arguments):
        subprocess.run(["ip", *arguments], check=True, capture_output=True)

    subprocess.run(["ip", "netns", "delete", NAMESPACE], capture_output=True)
    ip("netns", "add", NAMESPACE)
    try:
        ip("link", "add", "blossom0", "type", "veth", "peer", "name", "eth0", "netns", NAMESPACE)
        ip("addr", "add", f"{SERVER}/24", "dev", "blossom0")
        ip("link", "set", "blossom0", "up")
        ip("-n", NAMESPACE, "addr", "add", f"{CLIENT}/24", "dev", "eth0")
        ip("-n", NAMESPACE, "link", "set", "eth0", "up")
        yield ["ip", "netns", "exec", NAMESPACE]
    finally:
        ip("netns", "delete", NAMESPACE)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root creates network namespaces")
def test_client_joins_with_the_wheel_from_another_network(install, tiny_model, tmp_path):
    server, client = tmp_path / "server", tmp_path / "north"
    home = create_small_workflow(server, tiny_model)
    data = yaml.safe_load((home / "config/config.yaml").read_text())
    data["datasets"]["words"]["test"] = {"size": "all"}
    data["partitions"] = {
        "clinics": {"dataset": "words", "partitioner": "local", "clients": ["north"]}
    }
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        engine = {"name": "external", "host": SERVER, "port": probe.getsockname()[1]}
    small = data["experiments"]["small"] | {"partition": "clinics"}
    small["federation"] = {"rounds": 2, "engine": engine, "round_timeout": 600}
    write_config(home, data | {"experiments": {"together": small}, "run": ["together"]})
    head, *rows = (home / "words.csv").read_text().splitlines()
    (home / "words.csv").write_text("\n".join([head, *rows[:20]]) + "\n")
    run_snakemake(home, "invite")
    shutil.copytree(home / "keys/invitations/together/north", client)
    shutil.copytree(tiny_model, client / "model")
    (client / "rows.csv").write_text("\n".join([head, *rows[20:]]) + "\n")
    install(client)
    join = find_commands("other-organisations.md", "pip install").splitlines()[2]
    with network_namespace() as prefix:
        process = start_commands(client, f"exec {join}", *prefix)
        try:
            run_snakemake(home, "results/experiments/together/adapter")
        finally:
            process.terminate()
            output, _ = process.communicate(timeout=60)
            print(output)
    assert f"server: {SERVER}:{engine['port']}; this client: north" in output
    assert "the versions of blossomtune, accelerate" in output
    history = read_json(home / "results/experiments/together/history.json")
    assert [len(r["clients"]) for r in history["rounds"]] == [0, 1, 1]


def test_prepared_run_trains_the_workflow_s_adapter(install, tiny_model, tmp_path):
    home = create_small_workflow(tmp_path / "workflow", tiny_model)
    target = find_commands("flower-app.md", "run.json\n").split()[-1].replace("quickstart", "small")
    results = home / "results"
    run_snakemake(home, target, "results/experiments/small/adapter")
    elsewhere = tmp_path / "elsewhere"
    for name in ("models", "preprocessed", "runs"):
        shutil.copytree(results / name, elsewhere / "results" / name)
    shutil.rmtree(home / "results/models")
    install(elsewhere)
    command = find_commands("flower-app.md", "blossomtune run").replace("quickstart", "small")
    command = command.replace("federation.rounds=5", "federation.rounds=3")
    process = start_commands(elsewhere, f"environment/bin/{command}")
    output, _ = process.communicate()
    assert process.returncode == 0, output
    assert compute_file_sha256(elsewhere / "trained" / WEIGHTS) == compute_file_sha256(
        results / "experiments/small" / WEIGHTS
    )
