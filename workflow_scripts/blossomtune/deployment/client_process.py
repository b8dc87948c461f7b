"""The process that trains for a SuperNode: it loads model and data once, and answers messages."""

from multiprocessing.connection import Connection
from pathlib import Path

from blossomtune.cli import setup_logging
from blossomtune.process_lifetime import exit_with_parent, set_process_name


def run_trainer(socket_path: Path, job_file: Path, client: int, notifications: Connection) -> None:
    """Answers the messages of a SuperNode, one after another, until it is gone.

    Args:
        supernode: socket of its Runtime API.
        job_file: a ``Job`` as JSON.
        client: the client's number, for people who list processes.
        news: something comes here for each message.
    """
    set_process_name(f"trainer_{client}")
    exit_with_parent()
    setup_logging()
    from flwr.app import Error, Message
    from flwr.common.constant import ErrorCode
    from flwr.supercore.constant import TaskType
    from flwr.supernode.runtime.run_clientapp import pull_task_input, push_message

    from blossomtune.deployment.flower_tasks import acquire_task, connect_runtime, heartbeat
    from blossomtune.federation.client.client_app import build_client_app
    from blossomtune.federation.client.worker import get_worker
    from blossomtune.federation.job import FederatedRun

    job = FederatedRun.load(job_file)
    app = build_client_app(lambda _: job)
    get_worker(job)
    with connect_runtime(socket_path) as tasks:
        while notifications.recv_bytes():
            token = acquire_task(tasks, TaskType.CLIENT_APP)
            if token is None:
                continue
            with connect_runtime(socket_path, token) as task, heartbeat(task):
                message, context, _, _ = pull_task_input(task)
                try:
                    reply = app(message, context)
                except Exception as error:  # the server is told, in Flower's own words
                    said = f"{type(error)}:<'{error}'>"
                    print(f"failed: {said}", flush=True)
                    failed = Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, said)
                    reply = Message(failed, reply_to=message)
                push_message(task, reply, context)
