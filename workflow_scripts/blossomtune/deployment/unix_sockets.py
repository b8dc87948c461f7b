"""Listen on sockets in the file system, which only their owner can connect to."""

import os
import socket
from pathlib import Path

KEEP_ALIVE_SECONDS = 30
"""Seconds that a server keeps an idle connection.

httpx drops one after 5 seconds, before it sends another request. A server with the same limit
can close the connection while a request is on its way, which then fails.
"""


def listen_on(path: Path) -> socket.socket:
    """Return a listening socket at a path, with access for this user only."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    umask = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(umask)
    listener.listen()
    return listener
