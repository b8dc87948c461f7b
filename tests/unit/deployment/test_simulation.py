import pytest

from blossomtune.config.federation import FederationSettings
from blossomtune.config.lora import LoraSettings
from blossomtune.config.training import TrainingSettings
from blossomtune.deployment.simulation import _backend_config
from blossomtune.federation.paths import ClientPaths
from blossomtune.federation.resources import Resources
from blossomtune.federation.run import FederatedRun
from blossomtune.federation.spec import ClientSpec, FederationSpec


def build_run(path, cores=1, **federation):
    spec = FederationSpec(
        seed=1,
        lora=LoraSettings(),
        training=TrainingSettings(),
        federation=FederationSettings(**federation),
        clients=[ClientSpec(name=name, num_rows=1, rank=8) for name in "abc"],
        base_model_name="base",
        max_length=128,
    )
    paths = ClientPaths(model=path, preprocessed=path, checkpoints=path)
    return FederatedRun(spec=spec, paths=paths, resources=Resources(cores=cores))


@pytest.mark.parametrize(
    ("cores", "threads", "num_cpus"), [(1, 1, 1), (2, 1, 2), (8, 1, 3), (8, 4, 8), (2, 4, 4)]
)
def test_workers_are_limited_by_cores_and_clients(tmp_path, cores, threads, num_cpus):
    run = build_run(tmp_path, cores, threads_per_client=threads)
    config = _backend_config(run, "/scratch")
    assert config["init_args"]["num_cpus"] == num_cpus
    assert config["client_resources"]["num_cpus"] == threads


def test_a_cluster_decides_how_many_workers_it_has_room_for(tmp_path):
    engine = {"name": "simulation", "address": "auto"}
    config = _backend_config(build_run(tmp_path, engine=engine, threads_per_client=2), "/scratch")
    assert config["init_args"] == {}
    assert config["client_resources"]["num_cpus"] == 2
