import pytest

from blossomtune.config.federation import FederationSettings
from blossomtune.config.lora import LoraSettings
from blossomtune.config.training import TrainingSettings
from blossomtune.deployment.simulation import _backend_config
from blossomtune.federation.paths import ClientPaths
from blossomtune.federation.resources import Resources
from blossomtune.federation.run import FederatedRun
from blossomtune.federation.spec import ClientSpec, FederationSpec


@pytest.mark.parametrize(
    ("cores", "threads", "num_cpus"), [(1, 1, 1), (2, 1, 2), (8, 1, 3), (8, 4, 8), (2, 4, 4)]
)
def test_workers_are_limited_by_cores_and_clients(tmp_path, cores, threads, num_cpus):
    spec = FederationSpec(
        seed=1,
        lora=LoraSettings(),
        training=TrainingSettings(),
        federation=FederationSettings(threads_per_client=threads),
        clients=[ClientSpec(name=name, num_rows=1, rank=8) for name in "abc"],
        base_model_name="base",
    )
    paths = ClientPaths(model=tmp_path, preprocessed=tmp_path, checkpoints=tmp_path)
    run = FederatedRun(spec=spec, paths=paths, resources=Resources(cores=cores))
    config = _backend_config(run, "/scratch")
    assert config["init_args"]["num_cpus"] == num_cpus
    assert config["client_resources"]["num_cpus"] == threads
