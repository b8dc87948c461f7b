"""Snakemake's program in processes that are forked from one that has loaded its packages.

Most of the time of a dry run is the import of Snakemake, Pandas and SQLAlchemy.
"""

import functools
import json
import os
import socket
import subprocess
import sys
from tempfile import TemporaryFile

MAX_REQUEST = 2**17
"""Bytes of a request, most of which is the environment."""


def run_snakemake_forked(arguments, folder, environment):
    """Run Snakemake until it ends, as ``python -m snakemake`` does.

    Args:
        arguments: Its arguments.
        folder: Its working directory.
        environment: All its environment variables.

    Returns:
        The finished process, with what it has printed as text.
    """
    server, _ = _start_server()
    request = json.dumps([arguments, str(folder), environment]).encode()
    with TemporaryFile("w+") as stdout, TemporaryFile("w+") as stderr:
        socket.send_fds(server, [request], [stdout.fileno(), stderr.fileno()])
        exit_code = int(server.recv(16))
        texts = []
        for file in (stdout, stderr):
            file.seek(0)
            texts.append(file.read())
    return subprocess.CompletedProcess(arguments, exit_code, *texts)


@functools.cache
def _start_server():
    """Start the process that forks; it ends when this one closes the socket."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        command = [sys.executable, __file__]
        return ours, subprocess.Popen(command, stdin=theirs, cwd="/")


def _serve(requests):
    # shared with all forks
    import smart_open  # noqa: F401
    import snakemake.cli
    import snakemake.report  # noqa: F401

    while True:
        request, streams, *_ = socket.recv_fds(requests, MAX_REQUEST, 2)
        if not request:
            return
        pid = os.fork()
        if pid == 0:
            requests.close()
            _run(*json.loads(request), streams)
        for stream in streams:
            os.close(stream)
        _, status = os.waitpid(pid, 0)
        requests.send(str(os.waitstatus_to_exitcode(status)).encode())


def _run(arguments, folder, environment, streams):
    from snakemake.cli import main

    for number, stream in enumerate(streams, 1):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[0] = folder
    sys.exit(main(arguments))


if __name__ == "__main__":
    _serve(socket.socket(fileno=0))
