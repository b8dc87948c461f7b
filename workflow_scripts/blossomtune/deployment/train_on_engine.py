"""Run a federation on the engine of its configuration."""

from importlib import import_module
from pathlib import Path

from blossomtune.deployment.gpu_allocation import resolve_gpu_share
from blossomtune.deployment.session import deploy
from blossomtune.deployment.simulation import simulate
from blossomtune.federation.run import FederatedRun


def train_on_engine(run: FederatedRun, log_dir: Path) -> None:
    """Run a federation; the server writes adapter and history.

    Args:
        run: The run, whose configuration may leave the share of a GPU open.
        log_dir: Folder for the output of SuperLink and SuperNodes.
    """
    run = resolve_gpu_share(run)
    engine = run.spec.federation.engine.name
    if engine == "simulation":
        simulate(run)
    elif engine == "flower":
        # by name, as the backends of other engines: it is no code that the adapter depends on
        import_module("blossomtune.deployment.flower_app").run_on_superlink(run, log_dir)
    else:
        deploy(run, log_dir)
