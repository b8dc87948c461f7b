"""Flower's SuperNode of one client, with a trainer beside it that stays warm from round to round.

Flower would start a process for every message, and that would load libraries, model and data again
and again. Here the SuperNode hands its messages to the one trainer that it has, and ends with it.
"""

import argparse
import multiprocessing
import os
import threading
from collections.abc import Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import uvicorn
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from flwr.common.constant import ISOLATION_MODE_PROCESS
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supernode import start_client_internal as flower
from flwr.supernode.main import create_app
from flwr.supernode.nodestate import NodeStateFactory

from blossomtune.deployment.client_process import run_trainer
from blossomtune.deployment.unix_sockets import listen_on
from blossomtune.process_lifetime import set_process_name

NICENESS_INCREMENT = 10
"""Added to its niceness, and its trainer's: a SuperLink here is to answer however many train."""


def run_supernode(
    superlink: str,
    client: int,
    job_file: Path,
    work_dir: Path,
    ca_certificate: Path | None,
    private_key: Path | None,
) -> None:
    """Runs a SuperNode until it is told to stop.

    Args:
        superlink: where it is, as ``host:port``.
        client: the client's number.
        job: a ``Job`` as JSON, with paths as this client sees them.
        folder: where its socket comes to lie.
        authority: certificate of the authority that the SuperLink's certificate is from; None for
            plain text.
        key: the SuperNode's private key, in OpenSSH's format.
    """
    set_process_name(f"supernode_{client}")
    os.nice(NICENESS_INCREMENT)
    states = NodeStateFactory(objectstore_factory=ObjectStoreFactory())
    path = work_dir / "supernode.sock"
    door = listen_on(path)
    fork = multiprocessing.get_context("fork")
    news, tell = fork.Pipe(duplex=False)
    trainer = fork.Process(target=run_trainer, args=(path, job_file, client, news), daemon=True)
    trainer.start()  # before there are threads, which a fork would not take along
    _notify_trainer(tell)
    api = uvicorn.Server(uvicorn.Config(create_app(states), log_level="warning"))
    threading.Thread(target=api.run, args=([door],), daemon=True).start()
    threading.Thread(target=_exit_with_trainer, args=(trainer, client), daemon=True).start()
    private = load_ssh_private_key(private_key.read_bytes(), None) if private_key else None
    flower.start_client_internal(
        state_factory=states,
        server_address=superlink,
        node_config={"partition-id": client},
        root_certificates=ca_certificate.read_bytes() if ca_certificate else None,
        insecure=ca_certificate is None,
        authentication_keys=(private, private.public_key()) if private else None,
        isolation=ISOLATION_MODE_PROCESS,
        runtime_dependency_install=False,
    )


def _notify_trainer(notifications: Connection) -> None:
    """Has Flower tell the trainer of each message, instead of being asked many times a second."""
    pull = flower._pull_and_store_message

    def pull_and_tell(*given: Any, **named: Any) -> int | None:
        run = pull(*given, **named)
        if run is not None:
            notifications.send_bytes(b"!")
        return run

    flower._pull_and_store_message = pull_and_tell


def _exit_with_trainer(trainer: BaseProcess, client: int) -> None:
    """Ends this process with its trainer."""
    trainer.join()
    status = trainer.exitcode
    killed = f"was killed by signal {-status}" if status < 0 else f"ended with {status}"
    print(f"the trainer of client {client} {killed}", flush=True)
    os._exit(1)  # this is a thread, and the others wait for messages


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a SuperNode with these arguments; None for those of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--superlink", required=True, metavar="HOST:PORT")
    parser.add_argument("--client", type=int, required=True)
    parser.add_argument("--job", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--authority", type=Path)
    parser.add_argument("--key", type=Path)
    given = parser.parse_args(arguments)
    run_supernode(
        given.superlink, given.client, given.job, given.folder, given.authority, given.key
    )


if __name__ == "__main__":
    main()
