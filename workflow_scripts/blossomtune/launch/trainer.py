"""The process that trains for a SuperNode: it loads model and data once, and answers messages."""

from multiprocessing.connection import Connection
from pathlib import Path

from blossomtune.launch.parts import called, follow
from blossomtune.step import quiet


def work(supernode: Path, job_file: Path, client: int, news: Connection) -> None:
    """Answers the messages of a SuperNode, one after another, until it is gone.

    Args:
        supernode: socket of its Runtime API.
        job_file: a ``Job`` as JSON.
        client: the client's number, for people who list processes.
        news: something comes here for each message.
    """
    called(f"trainer_{client}")
    follow()
    quiet()
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
        while news.recv_bytes():
            token = acquire(tasks, TaskType.CLIENT_APP)
            if token is None:
                continue
            with runtime(supernode, token) as task, alive(task):
                message, context, _, _ = pull_task_input(task)
                try:
                    reply = app(message, context)
                except Exception as error:  # the server is told, in Flower's own words
                    said = f"{type(error)}:<'{error}'>"
                    print(f"failed: {said}", flush=True)
                    failed = Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, said)
                    reply = Message(failed, reply_to=message)
                push_message(task, reply, context)
