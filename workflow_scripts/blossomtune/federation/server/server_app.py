"""Flower's ServerApp."""

from collections.abc import Callable

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
        from blossomtune.federation.server.run_federation import run_federation

        run_federation(grid, load_run(context))

    return app


def _load_run(context: Context) -> FederatedRun:
    """Load the run that ``flwr run --run-config`` names, and set up logging."""
    from blossomtune.cli import setup_logging

    setup_logging()
    return FederatedRun.load(str(context.run_config["run"]))


app = build_server_app(_load_run)
