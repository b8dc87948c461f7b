"""Serve the page of a run to browsers on this machine."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from blossomtune.errors import UserError
from blossomtune.watching.page import render_page

HOST = "127.0.0.1"


class PageServer(ThreadingHTTPServer):
    """Server of one page, on the loopback address only.

    Args:
        results: Folder of the results.
        port: Port to listen on; 0 for any free one.

    Raises:
        UserError: If the port is not free.
    """

    daemon_threads = True

    def __init__(self, results: Path, port: int) -> None:
        self.results = results
        try:
            super().__init__((HOST, port), _PageHandler)
        except (OSError, OverflowError) as error:
            raise UserError(
                f"--port: {port} cannot be used: {error}", "0 takes any free port"
            ) from None

    @property
    def address(self) -> str:
        """Address of the page."""
        return f"http://{HOST}:{self.server_port}/"


class _PageHandler(BaseHTTPRequestHandler):
    """Answer requests for the page."""

    server: PageServer

    def do_GET(self) -> None:
        """Send the page."""
        hosts = {f"{name}:{self.server.server_port}" for name in (HOST, "localhost")}
        if self.headers.get("Host") not in hosts:  # a page of another site asks
            self.send_error(403)
        elif self.path != "/":
            self.send_error(404)
        else:
            content = render_page(self.server.results).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cache-Control", "no-store")
            self.send_header(
                "Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'"
            )
            self.end_headers()
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing: the page asks every few seconds."""
