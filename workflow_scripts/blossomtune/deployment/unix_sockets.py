"""Listen on sockets in the file system, which only their owner can connect to."""

import os
import socket
from pathlib import Path


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
