"""A federation of engine external, and SuperNodes of its clients on this machine."""

import subprocess
import sys
from contextlib import ExitStack, contextmanager

import psutil
from checkout import ROOT
from orphan_processes import wait_until
from stock_flower import find_free_port

from blossomtune.deployment.keys import KeyStore

NAMES = ["lab 0", "lab 1", "lab 2"]


@contextmanager
def start_external(federate, files, home, clients, **keys):
    """Yield the server's process, its keys and the SuperNodes of some clients.

    Args:
        federate: The fixture.
        files: Paths of model, partition and preprocessed rows.
        home: Folder for keys, and for the SuperNodes' files.
        clients: Numbers of the clients whose SuperNodes are started.
        keys: Keys of the federation block.
    """
    store, port = KeyStore(home / "keys"), find_free_port()
    store.create_missing(["127.0.0.1"], NAMES)
    engine = {"name": "external", "host": "127.0.0.1", "port": port, "keys": str(store.folder)}
    process = federate(files, engine=engine, **keys)
    assert process.find_line("waiting for SuperNodes")
    run_folder = process.get_run_folder()
    run_file = run_folder / "run.json"
    wait_until((run_folder / "superlink/superlink.json").exists)
    with ExitStack() as stack:
        nodes = {
            client: stack.enter_context(_start_supernode(client, port, store, run_file, home))
            for client in clients
        }
        yield process, store, nodes


@contextmanager
def _start_supernode(client, port, store, run_file, home):
    """Start the SuperNode of a client; kill it and its trainer at the end of the block."""
    work_dir = home / f"node_{client}"
    work_dir.mkdir()
    command = [sys.executable, "-m", "blossomtune.deployment.supernode"]
    command += ["--superlink", f"127.0.0.1:{port}", "--client", client, "--run", run_file]
    command += ["--work-dir", work_dir, "--ca-certificate", store.ca_certificate]
    command += ["--private-key", store.supernode_key(NAMES[client])]
    with subprocess.Popen([str(item) for item in command], cwd=ROOT / "workflow_scripts") as node:
        process = psutil.Process(node.pid)
        try:
            yield process
        finally:
            if node.poll() is None:
                for child in process.children(recursive=True):
                    child.kill()
            node.kill()
