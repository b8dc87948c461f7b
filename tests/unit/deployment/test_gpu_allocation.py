"""Clients share the GPUs of all machines evenly, and only if they fit."""

import logging
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blossomtune.config.federation import FederationSettings, count_clients_per_gpu
from blossomtune.config.lora import LoraSettings
from blossomtune.config.training import TrainingSettings
from blossomtune.deployment.gpu_allocation import assign_gpus, compute_gpu_share, resolve_gpu_share
from blossomtune.errors import UserError
from blossomtune.federation.paths import ClientPaths
from blossomtune.federation.run import FederatedRun
from blossomtune.federation.spec import ClientSpec, FederationSpec

CLUSTER = {"name": "simulation", "address": "auto"}
SMALL = st.integers(1, 9)
SHARES = st.one_of(st.floats(0.01, 1), SMALL.map(lambda n: 1 / n))


def build_run(path, **federation):
    spec = FederationSpec(
        seed=1,
        lora=LoraSettings(),
        training=TrainingSettings(),
        federation=FederationSettings(**federation),
        clients=(ClientSpec(name="a", num_rows=1, rank=8),),
        base_model_name="base",
        max_length=128,
    )
    paths = ClientPaths(model=path, preprocessed=path, checkpoints=path)
    return FederatedRun(spec=spec, paths=paths)


@given(st.integers(1, 80), SHARES, SMALL, SMALL)
def test_clients_are_spread_evenly_if_they_fit(num_clients, share, num_gpus, num_machines):
    if num_clients > num_gpus * num_machines * int(1 / share + 1e-9):
        with pytest.raises(UserError, match="with at most"):
            assign_gpus(num_clients, share, num_gpus, num_machines)
        return
    gpus = assign_gpus(num_clients, share, num_gpus, num_machines)
    counts = Counter((client % num_machines, gpu) for client, [gpu] in enumerate(gpus))
    assert len(gpus) == num_clients == counts.total()
    assert all(0 <= gpu < num_gpus for [gpu] in gpus)
    assert max(counts.values()) * share <= 1 + 1e-6
    assert len(counts) == min(num_clients, num_gpus * num_machines)  # none is idle
    assert max(counts.values()) - min(counts.values()) <= 1
    assert gpus == assign_gpus(num_clients, share, num_gpus, num_machines)


@given(st.integers(1, 20), st.integers(2, 4), st.integers(1, 16), SMALL)
def test_several_gpus_of_a_client_are_its_own(num_clients, gpus_each, num_gpus, num_machines):
    if num_clients > num_gpus // gpus_each * num_machines:
        with pytest.raises(UserError, match="with at most"):
            assign_gpus(num_clients, gpus_each, num_gpus, num_machines)
        return
    gpus = assign_gpus(num_clients, gpus_each, num_gpus, num_machines)
    used = [(client % num_machines, gpu) for client, own in enumerate(gpus) for gpu in own]
    assert len(set(used)) == len(used) == num_clients * gpus_each
    assert all(0 <= gpu < num_gpus for _, gpu in used)


def test_error_names_the_number_of_whole_gpus_that_fits():
    with pytest.raises(UserError, match="with at most 2 all of them fit"):
        assign_gpus(3, 4, 8)
    assert assign_gpus(3, 2, 8) == [(0, 1), (2, 3), (4, 5)]


def test_more_gpus_per_client_than_there_are_is_an_error(two_gpus, tmp_path):
    with pytest.raises(UserError, match=r"gpus_per_client is 3, and there are 2 GPU\(s\) here"):
        resolve_gpu_share(build_run(tmp_path, gpus_per_client=3))
    assert resolve_gpu_share(build_run(tmp_path, gpus_per_client=2)).resources.gpus_per_client == 2


def test_nodes_of_a_ray_cluster_may_have_more_gpus_than_the_server(two_gpus, tmp_path):
    run = build_run(tmp_path, gpus_per_client=3, engine=CLUSTER)
    assert resolve_gpu_share(run).resources.gpus_per_client == 3


def test_gpus_of_a_ray_cluster_need_one_on_the_server(tmp_path, monkeypatch):
    run = build_run(tmp_path, gpus_per_client=3, engine=CLUSTER)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(UserError, match=r"is 3\.0, and the machine of the server has no GPU"):
        resolve_gpu_share(run)


def test_float16_without_a_gpu_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    run = build_run(tmp_path, gpus_per_client=1)
    training = TrainingSettings(base_dtype="float16")
    spec = run.spec.model_copy(update={"training": training})
    with pytest.raises(UserError, match="float16 needs a GPU, and there is none here"):
        resolve_gpu_share(run.model_copy(update={"spec": spec}))


def test_error_names_the_largest_share_that_fits():
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
    assert assign_gpus(3, 0.333, 1) == [(0,), (0,), (0,)]


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.integers(1, 80), SMALL)
def test_measured_share_has_enough_memory_and_wastes_no_gpu(
    used_bytes, total_bytes, num_clients, num_gpus
):
    share = compute_gpu_share(used_bytes, total_bytes, num_clients, num_gpus)
    per_gpu = count_clients_per_gpu(share)
    assert share == 1 / per_gpu
    assert per_gpu == 1 or per_gpu * 1.1 * used_bytes <= total_bytes
    assert (per_gpu - 1) * num_gpus < num_clients  # fewer per GPU would not all train at once
    if num_clients * 1.1 * used_bytes <= total_bytes:
        assert len(assign_gpus(num_clients, share, num_gpus)) == num_clients


@pytest.mark.parametrize("engine", ["simulation", "process", "docker", "apptainer", "slurm"])
@pytest.mark.parametrize("share", [0.5, 1.0, "auto"])
def test_clients_train_on_the_cpu_without_a_gpu(monkeypatch, caplog, tmp_path, engine, share):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    run = build_run(tmp_path, engine=engine, gpus_per_client=share)
    assert resolve_gpu_share(run) == run
    assert run.resources.device == "cpu"
    assert caplog.messages == [
        f"federation.gpus_per_client is {share}, and there is no GPU here: clients train on the CPU"
    ]


def test_share_of_zero_is_not_resolved(caplog, tmp_path):
    caplog.set_level(logging.INFO)
    assert resolve_gpu_share(build_run(tmp_path)) == build_run(tmp_path)
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("engine", "share", "gpus"),
    [
        *(("simulation", 1, 1), ("simulation", 0.5, 1), ("simulation", 0, 0), ("slurm", 0, 0)),
        *(("process", 1, 5), ("docker", 0.5, 3), ("slurm", 0.3, 2), ("slurm", "auto", 1)),
        *(("simulation", 2, 2), ("process", 2, 10)),
        ({"name": "external", "host": "example.org"}, 2, 2),
        ({"name": "flower", "connection": "lab"}, 0.5, 1),
    ],
)
def test_enough_gpus_are_requested_for_all_clients_at_once(engine, share, gpus):
    assert FederationSettings(engine=engine, gpus_per_client=share).count_gpus(5) == gpus
