"""A federation of engine external, and SuperNodes of its clients on this machine."""

import subprocess
import sys
import threading
from contextlib import ExitStack, contextmanager, suppress

import psutil
from checkout import ROOT
from patience import wait_until
from stock_flower import find_free_port

from blossomtune.deployment.keys import KeyStore

NAMES = ["lab 0", "lab 1", "lab 2"]


def create_engine(home):
    """Create keys for all clients; return them, and a block of engine external with a free port."""
    store, port = KeyStore(home / "keys"), find_free_port()
    store.create_missing(["127.0.0.1"], NAMES)
    engine = {"name": "external", "host": "127.0.0.1", "port": port, "keys": str(store.folder)}
    return store, engine


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
    store, engine = create_engine(home)
    process = federate(files, engine=engine, **keys)
    assert process.find_line("waiting for SuperNodes")
    run_folder = process.get_run_folder()
    run_file = run_folder / "run.json"
    wait_until((run_folder / "superlink/superlink.json").exists)
    with ExitStack() as stack:
        nodes = {
            client: stack.enter_context(
                _start_supernode(client, engine["port"], store, run_file, home)
            )
            for client in clients
        }
        yield process, store, nodes


@contextmanager
def _start_supernode(client, port, store, run_file, home):
    """Start the SuperNode of a client; kill it and its trainer at the end of the block."""
    node = _open_supernode(client, port, store, run_file, home)
    process = psutil.Process(node.pid)
    try:
        yield process
    finally:
        _kill_supernode(node)


class SupervisedNodes:
    """SuperNodes of all clients, each started again whenever it has ended.

    Args:
        port: Port of the SuperLink.
        store: Keys of the federation.
        run_file: Copy of the server's ``run.json``.
        home: Folder for the SuperNodes' files.
    """

    def __init__(self, port, store, run_file, home):
        self._arguments = (port, store, run_file, home)
        self._is_stopped = threading.Event()
        self._nodes = {}
        self._threads = [
            threading.Thread(target=self._supervise, args=(i,)) for i in range(len(NAMES))
        ]

    def __enter__(self):
        """Start the SuperNodes."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        """Kill SuperNodes and trainers."""
        self._is_stopped.set()
        for thread in self._threads:
            thread.join()

    def list_processes(self):
        """Return the processes of SuperNodes and trainers that run now."""
        processes = []
        for node in list(self._nodes.values()):
            with suppress(psutil.NoSuchProcess):
                process = psutil.Process(node.pid)
                processes += [process, *process.children(recursive=True)]
        return processes

    def _supervise(self, client):
        while not self._is_stopped.is_set():
            self._nodes[client] = node = _open_supernode(client, *self._arguments)
            while node.poll() is None and not self._is_stopped.is_set():
                self._is_stopped.wait(0.5)
            _kill_supernode(node)


def _open_supernode(client, port, store, run_file, home):
    work_dir = home / f"node_{client}"
    work_dir.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "blossomtune.deployment.supernode"]
    command += ["--superlink", f"127.0.0.1:{port}", "--client", client, "--run", run_file]
    command += ["--work-dir", work_dir, "--ca-certificate", store.ca_certificate]
    command += ["--private-key", store.supernode_key(NAMES[client])]
    return subprocess.Popen([str(item) for item in command], cwd=ROOT / "workflow_scripts")


def _kill_supernode(node):
    with suppress(psutil.NoSuchProcess):
        for child in psutil.Process(node.pid).children(recursive=True):
            child.kill()
    node.kill()
    node.wait()
