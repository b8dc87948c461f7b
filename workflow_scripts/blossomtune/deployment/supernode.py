"""Run Flower's SuperNode of one client with a trainer process that stays loaded between rounds.

Flower starts one process per message, which would load libraries, model and data each time. Here
the SuperNode passes its messages to one trainer process, and ends with it.
"""

import argparse
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import uvicorn

from blossomtune.cli import setup_process
from blossomtune.deployment import flower_internal as flower
from blossomtune.deployment.client_process import run_trainer
from blossomtune.deployment.keys import load_private_key
from blossomtune.deployment.unix_sockets import KEEP_ALIVE_SECONDS, listen_on
from blossomtune.process_lifetime import set_process_name

logger = logging.getLogger(__name__)

NICENESS_INCREMENT = 10
"""Added to the niceness of SuperNode and trainer, so that a SuperLink on this machine responds."""


def run_supernode(
    superlink: str,
    name: str,
    node_config: dict[str, Any],
    run_file: Path | None,
    work_dir: Path,
    ca_certificate: Path | None,
    private_key: Path | None,
) -> None:
    """Run a SuperNode until it gets SIGTERM.

    Args:
        superlink: Address of the SuperLink as ``host:port``.
        name: Number or name of the client, for the names of processes.
        node_config: Flower's configuration of the node, which says what client it is.
        run_file: A ``FederatedRun`` as JSON, with paths as this process sees them; None if the
            configuration of node or run names it.
        work_dir: Folder for the SuperNode's socket.
        ca_certificate: Certificate of the authority that issued the SuperLink's certificate; None
            for plain text.
        private_key: Private key of the SuperNode in OpenSSH format; None without authentication.
    """
    set_process_name(f"supernode_{name}")
    os.nice(NICENESS_INCREMENT)
    flower.use_steady_clock()
    state_factory = flower.NodeStateFactory(objectstore_factory=flower.ObjectStoreFactory())
    socket_path = work_dir / "supernode.sock"
    listener = listen_on(socket_path)
    fork = multiprocessing.get_context("fork")
    receiver, sender = fork.Pipe(duplex=False)
    arguments = (socket_path, run_file, name, receiver)
    trainer = fork.Process(target=run_trainer, args=arguments, daemon=True)
    trainer.start()  # before any thread: a fork copies none
    flower.notify_on_message(sender)
    api = uvicorn.Server(
        uvicorn.Config(
            flower.create_supernode_app(state_factory),
            log_level="warning",
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
        )
    )
    threading.Thread(target=api.run, args=([listener],), daemon=True).start()
    threading.Thread(target=_exit_with_trainer, args=(trainer, name), daemon=True).start()
    key = load_private_key(private_key) if private_key else None
    flower.start_client_internal(
        state_factory=state_factory,
        server_address=superlink,
        node_config=node_config,
        root_certificates=ca_certificate.read_bytes() if ca_certificate else None,
        insecure=ca_certificate is None,
        authentication_keys=(key, key.public_key()) if key else None,
        isolation=flower.ISOLATION_MODE_PROCESS,
        runtime_dependency_install=False,
    )


def _exit_with_trainer(trainer: BaseProcess, name: str) -> None:
    trainer.join()
    status = trainer.exitcode or 0
    outcome = f"was killed by signal {-status}" if status < 0 else f"ended with {status}"
    if status == -signal.SIGKILL:
        outcome += ", as the kernel does when there is no memory left"
    logger.error("the trainer of client %s %s", name, outcome)
    os._exit(1)  # sys.exit would end this thread only


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a SuperNode with these arguments; None for those of the command line."""
    setup_process()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--superlink", required=True, metavar="HOST:PORT")
    parser.add_argument("--client", type=int, required=True)
    parser.add_argument("--run", type=Path, required=True, dest="run_file")
    parser.add_argument("--work-dir", type=Path, required=True)
    parser.add_argument("--ca-certificate", type=Path)
    parser.add_argument("--private-key", type=Path)
    args = parser.parse_args(arguments)
    run_supernode(
        args.superlink,
        str(args.client),
        {"partition-id": args.client},
        args.run_file,
        args.work_dir,
        args.ca_certificate,
        args.private_key,
    )


if __name__ == "__main__":
    main()
