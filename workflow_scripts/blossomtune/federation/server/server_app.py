"""Flower's ServerApp."""

from collections.abc import Callable, Iterator
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from blossomtune.federation.run import FederatedRun


def build_server_app(load_run: Callable[[Context], FederatedRun]) -> ServerApp:
    """Build a ServerApp.

    Args:
        load_run: Function that returns the run of a context.

    Returns:
        The app. It runs one federation.
    """
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        """Run the federation, and write its adapter and history."""
        from blossomtune.federation.server.client_grid import ClientGrid
        from blossomtune.federation.server.nudging_grid import NudgingGrid
        from blossomtune.federation.server.run_federation import run_federation

        run = load_run(context)
        federation = run.spec.federation
        if federation.engine.name != "flower":
            run_federation(grid, run)
        elif federation.tls:
            nodes = ClientGrid(grid, run.spec)
            run_federation(NudgingGrid(nodes), run, nodes.clients, nodes.key_fingerprints)
        else:
            run_federation(NudgingGrid(grid), run)

    return app


def _load_run(context: Context) -> FederatedRun:
    """Load the run that ``flwr run --run-config`` names, and set up the process."""
    from blossomtune.cli import setup_process
    from blossomtune.federation.run_overrides import apply_overrides
    from blossomtune.federation.submission import Submission, load_submitted_run

    setup_process()
    path = Path(str(context.run_config["run"]))
    run = load_submitted_run(path)
    Submission(path.parent).accept()
    return apply_overrides(run, context.run_config)


app = build_server_app(_load_run)


@app.lifespan()
def mark_end(context: Context) -> Iterator[None]:
    """Tell the submitting process when the app has ended, however that was."""
    from blossomtune.federation.submission import Submission

    yield
    Submission(Path(str(context.run_config["run"])).parent).mark_end()
