"""The process that trains for a SuperNode: it loads model and data once, and answers messages."""

import argparse
import os
import signal
import sys
import threading
import time
from pathlib import Path

from blossomtune.step import quiet

POLL_SECONDS = 0.1


def work(supernode: Path, job_file: Path) -> None:
    """Answers the messages of a SuperNode, one after another, until it is gone.

    Args:
        supernode: socket of its Runtime API.
        job_file: a ``Job`` as JSON.
    """
    import httpx
    from flwr.app import Error, Message
    from flwr.common.constant import ErrorCode
    from flwr.supercore.constant import TaskType
    from flwr.supernode.runtime.run_clientapp import pull_task_input, push_message

    from blossomtune.federation.client_app import client_app
    from blossomtune.federation.job import Job
    from blossomtune.federation.worker import warm
    from blossomtune.launch.tasks import acquire, alive, runtime

    job = Job.read(job_file)
    app = client_app(lambda _: job)
    warm(job)
    with runtime(supernode) as tasks:
        while True:
            try:
                token = acquire(tasks, TaskType.CLIENT_APP)
            except httpx.TransportError:
                return  # the SuperNode is gone
            if token is None:
                time.sleep(POLL_SECONDS)
                continue
            with runtime(supernode, token) as client, alive(client):
                message, context, _, _ = pull_task_input(client)
                try:
                    reply = app(message, context)
                except Exception as error:  # the server is told, in Flower's own words
                    said = f"{type(error)}:<'{error}'>"
                    print(f"failed: {said}", flush=True)
                    failed = Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, said)
                    reply = Message(failed, reply_to=message)
                push_message(client, reply, context)


def _follow() -> None:
    """Ends this process when the SuperNode ends: its end of the pipe closes."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--supernode", type=Path, required=True, metavar="SOCKET")
    parser.add_argument("--client", type=int, required=True, help="for people who list processes")
    parser.add_argument("--job", type=Path, required=True)
    given = parser.parse_args()
    quiet()
    threading.Thread(target=_follow, daemon=True).start()
    work(given.supernode, given.job)
