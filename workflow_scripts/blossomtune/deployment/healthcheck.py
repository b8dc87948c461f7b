"""Exit with status 0 if the Unix socket of a process accepts connections."""

import socket
import sys

if __name__ == "__main__":
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(3)
        sys.exit(client.connect_ex(sys.argv[1]) != 0)
