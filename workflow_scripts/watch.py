"""Show the progress of a run in a browser on this machine, until Ctrl-C."""

import os
import webbrowser
from pathlib import Path

from blossomtune.cli import build_parser, run_script


def main() -> None:
    """Serve the page of a results folder, and open it."""
    from blossomtune.watching.server import PageServer

    parser = build_parser(__doc__, has_config=False)
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
    parser.add_argument("--port", type=int, default=0, help="by default any free port")
    parser.add_argument("--no-browser", action="store_true", help="print the address only")
    args = parser.parse_args()
    with PageServer(args.results, args.port) as server:
        print(f"watching {args.results}: {server.address} (ends with Ctrl-C)", flush=True)
        # Without a display, webbrowser would start a text browser in this terminal.
        if not args.no_browser and {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys():
            webbrowser.open(server.address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


if __name__ == "__main__":
    run_script(main)
