"""Nodes of a Ray cluster on this machine, some of which do not see our folders."""

import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from shutil import rmtree

import psutil

START_SECONDS = 100
HEAD_HOST = "127.0.0.1"


def find_free_port():
    """Return a TCP port that nothing listens on."""
    with socket.socket() as server:
        server.bind((HEAD_HOST, 0))
        return server.getsockname()[1]


class RayNode:
    """A raylet with one CPU, and with the head of a new cluster unless it joins one.

    Args:
        host: Address of the node, one of this machine.
        head: Head of the cluster to join, if any.
        hidden: Folders that processes of the node see empty.
    """

    def __init__(self, host=HEAD_HOST, head=None, hidden=()):
        self.head, self.host = head, host
        self.temp = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # short, for sockets
        self.port = find_free_port() if head is None else head.port
        self.address = f"{HEAD_HOST}:{self.port}"
        self.client_address = f"ray://{HEAD_HOST}:{(client_port := find_free_port())}"
        role = (
            f"--address={self.address}"
            if head
            else f"--head --port={self.port} --temp-dir={self.temp} --include-dashboard=false"
            f" --ray-client-server-port={client_port}"
        )
        mounts = "".join(f"mount -t tmpfs none {shlex.quote(str(path))} && " for path in hidden)
        ray = (
            f"exec {sys.executable} -m ray.scripts.scripts start {role} --block"
            f" --node-ip-address={host} --num-cpus=1 --num-gpus=0"
            " --object-store-memory=80000000 --disable-usage-stats"
        )
        isolate = ["unshare", "--mount"] if hidden else []
        self.log = self.temp / "start.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*isolate, "sh", "-c", mounts + ray],
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=os.environ
                | {
                    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1",  # Ray refuses loopback otherwise
                    "RAY_raylet_start_wait_time_s": str(START_SECONDS),
                    "TMPDIR": str(self.temp),
                },
            )
        end = time.monotonic() + START_SECONDS
        while "will now block" not in (output := self.log.read_text()):
            if self.process.poll() is not None or time.monotonic() > end:
                self.remove()
                raise RuntimeError(output)
            time.sleep(0.2)

    def kill(self):
        """Kill all processes of the node at once."""
        processes = []
        with suppress(psutil.NoSuchProcess):
            own = psutil.Process(self.process.pid)
            processes = [own, *own.children(recursive=True)]
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        self.process.wait()
        psutil.wait_procs(processes, timeout=30)

    def remove(self):
        """Kill the node and remove its folder."""
        self.kill()
        rmtree(self.temp, ignore_errors=True)
