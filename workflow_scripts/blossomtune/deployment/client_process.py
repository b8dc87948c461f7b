"""Run the trainer process of a SuperNode, which loads model and data once."""

import logging
from multiprocessing.connection import Connection
from pathlib import Path

from blossomtune.cli import setup_process
from blossomtune.process_lifetime import exit_with_parent, set_process_name

logger = logging.getLogger(__name__)


def run_trainer(
    socket_path: Path, run_file: Path | None, name: str, notifications: Connection
) -> None:
    """Process a SuperNode's messages one after another until the SuperNode ends.

    Args:
        socket_path: Socket of the SuperNode's Runtime API.
        run_file: A ``FederatedRun`` as JSON; None if messages name it.
        name: Number or name of the client, for the process's name.
        notifications: Connection that receives one byte per message.
    """
    set_process_name(f"trainer_{name}")
    exit_with_parent()
    setup_process()
    from flwr.app import Error, Message

    from blossomtune.deployment import flower_internal as flower
    from blossomtune.deployment.flower_tasks import acquire_task, connect_runtime, heartbeat
    from blossomtune.federation.client import client_app
    from blossomtune.federation.client.worker import forget_inputs, get_worker
    from blossomtune.federation.run import FederatedRun

    app = client_app.app
    if run_file:
        run = FederatedRun.load(run_file)
        app = client_app.build_client_app(lambda _: run)
        get_worker(run)
    last_run_id: int | None = None
    with connect_runtime(socket_path) as runtime:
        while notifications.recv_bytes():
            token = acquire_task(runtime, flower.TaskType.CLIENT_APP)
            if token is None:
                continue
            with connect_runtime(socket_path, token) as task, heartbeat(task):
                message, context, _, _ = flower.pull_task_input(task)
                if last_run_id not in (None, context.run_id):
                    forget_inputs()  # files may have changed since
                last_run_id = context.run_id
                try:
                    reply = app(message, context)
                except Exception as exception:  # reported to the server as Flower does
                    reason = f"{type(exception)}:<'{exception}'>"
                    logger.error("failed: %s", reason)
                    error = Error(flower.ErrorCode.CLIENT_APP_RAISED_EXCEPTION, reason)
                    reply = Message(error, reply_to=message)
                flower.push_message(task, reply, context)
