"""Flower's SuperNode of one client, with a trainer beside it that stays warm from round to round.

Flower would start a process for every message, and that would load libraries, model and data again
and again. Here the SuperNode hands its messages to the one trainer that it has, and ends with it.
"""

import argparse
import os
import subprocess
import sys
import threading
from pathlib import Path

import uvicorn
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from flwr.common.constant import ISOLATION_MODE_PROCESS
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supernode.main import create_app
from flwr.supernode.nodestate import NodeStateFactory
from flwr.supernode.start_client_internal import start_client_internal

from blossomtune.launch.sockets import listening


def serve(
    superlink: str,
    client: int,
    job: Path,
    folder: Path,
    authority: Path | None,
    key: Path | None,
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
    states = NodeStateFactory(objectstore_factory=ObjectStoreFactory())
    door = folder / "supernode.sock"
    api = uvicorn.Server(uvicorn.Config(create_app(states), log_level="warning"))
    threading.Thread(target=api.run, args=([listening(door)],), daemon=True).start()
    threading.Thread(target=_train, args=(door, client, job), daemon=True).start()
    private = load_ssh_private_key(key.read_bytes(), None) if key else None
    start_client_internal(
        state_factory=states,
        server_address=superlink,
        node_config={"partition-id": client},
        root_certificates=authority.read_bytes() if authority else None,
        insecure=authority is None,
        authentication_keys=(private, private.public_key()) if private else None,
        isolation=ISOLATION_MODE_PROCESS,
        runtime_dependency_install=False,
    )


def _train(door: Path, client: int, job: Path) -> None:
    """Runs the trainer and ends with it; the trainer ends with us, since it reads from us."""
    words = ["--supernode", str(door), "--client", str(client), "--job", str(job)]
    command = [sys.executable, "-m", "blossomtune.launch.trainer", *words]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as trainer:  # noqa: S603
        status = trainer.wait()
    killed = f"was killed by signal {-status}" if status < 0 else f"ended with {status}"
    print(f"the trainer of client {client} {killed}", flush=True)
    os._exit(1)  # this is a thread, and the others wait for messages


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--superlink", required=True, metavar="HOST:PORT")
    parser.add_argument("--client", type=int, required=True)
    parser.add_argument("--job", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--authority", type=Path)
    parser.add_argument("--key", type=Path)
    given = parser.parse_args()
    serve(given.superlink, given.client, given.job, given.folder, given.authority, given.key)
