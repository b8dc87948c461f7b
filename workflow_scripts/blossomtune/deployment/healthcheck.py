"""Whether a part is well: exit status 0 if its socket takes connections."""

import socket
import sys

if __name__ == "__main__":
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(3)
        sys.exit(asking.connect_ex(sys.argv[1]) != 0)
