"""Which client trains on which GPU, on every engine."""

import subprocess
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blossomtune.config.engines import ApptainerEngine, ProcessEngine, SlurmEngine
from blossomtune.config.federation import FederationSettings, count_clients_per_gpu
from blossomtune.config.lora import LoraSettings
from blossomtune.config.training import TrainingSettings
from blossomtune.deployment import docker
from blossomtune.deployment.apptainer import ApptainerBackend
from blossomtune.deployment.backend import SUPERLINK, ProcessSpec
from blossomtune.deployment.gpu_allocation import assign_gpus, compute_gpu_share, resolve_gpu_share
from blossomtune.deployment.slurm import SlurmBackend
from blossomtune.deployment.subprocess_backend import SubprocessBackend
from blossomtune.errors import UserError
from blossomtune.federation.paths import ClientPaths
from blossomtune.federation.run import FederatedRun
from blossomtune.federation.spec import ClientSpec, FederationSpec

FEW = st.integers(1, 9)
SHARE = st.one_of(st.floats(0.01, 1), FEW.map(lambda n: 1 / n))


@given(st.integers(1, 80), SHARE, FEW, FEW)
def test_clients_are_seated_wherever_they_all_fit(clients, share, gpus, machines):
    if clients > gpus * machines * int(1 / share + 1e-9):
        with pytest.raises(UserError, match="with at most"):
            assign_gpus(clients, share, gpus, machines)
        return
    found = assign_gpus(clients, share, gpus, machines)
    on = Counter((client % machines, gpu) for client, gpu in enumerate(found))
    assert len(found) == clients == on.total()
    assert all(0 <= gpu < gpus for gpu in found)
    assert max(on.values()) * share <= 1 + 1e-6
    assert len(on) == min(clients, gpus * machines)  # none is idle where others share
    assert max(on.values()) - min(on.values()) <= 1
    assert found == assign_gpus(clients, share, gpus, machines)


def test_where_they_do_not_fit_the_largest_value_that_would_is_named():
    with pytest.raises(UserError) as error:
        assign_gpus(7, 0.5, 1, 2)
    assert str(error.value) == (
        "federation.gpus_per_client is 0.5: 2 GPU(s) can take 4 client(s) at once, and there are 7"
        "\n  hint: with at most 0.25 all of them fit; with federation.engine: simulation they take "
        "turns"
    )
    assert len(assign_gpus(7, 0.25, 1, 2)) == 7
    with pytest.raises(UserError, match=r"at most 0\.333 all"):
        assign_gpus(3, 0.5, 1)
    assert assign_gpus(3, 0.333, 1) == [0, 0, 0]


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.integers(1, 80), FEW)
def test_a_measured_client_has_what_it_needs_and_no_less_than_there_is(used, total, clients, gpus):
    share = compute_gpu_share(used, total, clients, gpus)
    together = count_clients_per_gpu(share)
    assert share == 1 / together
    assert together == 1 or together * 1.1 * used <= total
    assert (together - 1) * gpus < clients  # with fewer on each, they would not all train at once
    if clients * 1.1 * used <= total:
        assert len(assign_gpus(clients, share, gpus)) == clients


@pytest.mark.parametrize("engine", ["simulation", "process", "docker", "apptainer", "slurm"])
@pytest.mark.parametrize("wanted", [0.5, 1.0, "auto"])
def test_without_a_gpu_that_is_said_and_clients_train_on_the_cpu(
    monkeypatch, capsys, tmp_path, engine, wanted
):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    run = build_run(tmp_path, engine=engine, gpus_per_client=wanted)
    assert resolve_gpu_share(run) == run
    assert run.resources.device == "cpu"
    said = f"federation.gpus_per_client is {wanted}, and there is no GPU here: clients train on the"
    assert capsys.readouterr().out == f"{said} CPU\n"


def test_nobody_asks_for_a_gpu_that_nobody_wants(capsys, tmp_path):
    assert resolve_gpu_share(build_run(tmp_path)) == build_run(tmp_path)
    assert capsys.readouterr().out == ""


def build_run(path, **federation):
    spec = FederationSpec(
        seed=1,
        lora=LoraSettings(),
        training=TrainingSettings(),
        federation=FederationSettings(**federation),
        clients=(ClientSpec(name="a", num_rows=1, rank=8),),
        base_model_name="base",
    )
    paths = ClientPaths(model=path, preprocessed=path, checkpoints=path)
    return FederatedRun(spec=spec, paths=paths)


@pytest.fixture
def two_gpus(monkeypatch):
    """A process that may use two GPUs; on this machine they need not be there."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,GPU-a0")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)


@pytest.mark.parametrize(
    ("engine", "share", "gpus"),
    [
        *(("simulation", 1, 1), ("simulation", 0.5, 1), ("simulation", 0, 0), ("slurm", 0, 0)),
        *(("process", 1, 5), ("docker", 0.5, 3), ("slurm", 0.3, 2), ("slurm", "auto", 1)),
    ],
)
def test_so_many_gpus_are_asked_for_that_all_clients_train_at_once(engine, share, gpus):
    assert FederationSettings(engine=engine, gpus_per_client=share).count_gpus(5) == gpus


SECOND = ProcessSpec("supernode_3", (), Path("/tmp/a"), gpu_index=1)
NONE = ProcessSpec("supernode_3", (), Path("/tmp/a"))


def test_a_process_sees_its_gpu_alone(two_gpus, tmp_path):
    engine = SubprocessBackend(tmp_path, tmp_path, ProcessEngine(name="process"))
    assert engine.build_environment(SECOND)["CUDA_VISIBLE_DEVICES"] == "GPU-a0"
    assert engine.build_environment(NONE)["CUDA_VISIBLE_DEVICES"] == "5,GPU-a0"


def test_a_container_of_docker_gets_its_gpu_alone(two_gpus):
    [request] = docker._device_requests(SECOND)
    assert request["DeviceIDs"] == ["GPU-a0"]
    assert request["Capabilities"] == [["gpu"]]
    assert request["Count"] == 0
    assert docker._device_requests(NONE) == []


def of_apptainer(runner, block, folder):
    made = runner(folder, folder, block)
    made._executable, made._hostnames, made.num_machines = "apptainer", ["a", "b"], 2
    return made


def test_a_container_of_apptainer_sees_its_gpu_alone(two_gpus, tmp_path):
    engine = of_apptainer(ApptainerBackend, ApptainerEngine(name="apptainer"), tmp_path)
    command = engine.build_command(SECOND)
    assert "--nv" in command
    assert "CUDA_VISIBLE_DEVICES=GPU-a0" in command
    plain = " ".join(engine.build_command(NONE))
    assert "--nv" not in plain
    assert "CUDA" not in plain


@pytest.mark.parametrize(
    ("of_the_node", "own"), [({"CUDA_VISIBLE_DEVICES": "0,7"}, "7"), ({}, "GPU-a0")]
)
def test_a_step_of_slurm_sees_one_of_the_gpus_of_its_node(two_gpus, tmp_path, of_the_node, own):
    """What is to run on the node is run, with a program in Apptainer's place that shows it."""
    engine = of_apptainer(SlurmBackend, SlurmEngine(name="slurm"), tmp_path)
    command = engine.build_command(SECOND)
    assert "--nodelist=b" in command
    assert "--nv" in command
    there = command[command.index("sh") : command.index("apptainer")]
    show = [*there, "printenv", "APPTAINERENV_CUDA_VISIBLE_DEVICES"]
    path = {"PATH": "/usr/bin:/bin"}
    ran = subprocess.run(show, env=path | of_the_node, capture_output=True, text=True, check=True)
    assert ran.stdout == f"{own}\n"
    assert "sh" not in engine.build_command(NONE)
    assert "--nv" not in engine.build_command(ProcessSpec(SUPERLINK, (), Path("/tmp/a")))
