"""The server answers this machine's browsers, and ends with Ctrl-C."""

import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from patience import PATIENCE

SCRIPT = Path(__file__).parents[3] / "workflow_scripts/watch.py"


@pytest.fixture
def watch(tmp_path):
    """Start the script; return the process and the address that it prints."""
    command = [sys.executable, str(SCRIPT), "--no-browser"]
    # Tests in the background ignore Ctrl-C, and the script would inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, before)
    with process:
        line = process.stdout.readline()
        yield process, next(word for word in line.split() if word.startswith("http"))
        process.kill()


def get(address, path="", **headers):
    request = urllib.request.Request(address + path, headers=headers)
    with urllib.request.urlopen(request) as response:
        return response.headers, response.read().decode()


def test_page_is_served_on_the_loopback_address_until_ctrl_c(watch):
    process, address = watch
    assert address.startswith("http://127.0.0.1:")
    headers, page = get(address)
    assert "No experiment has started yet" in page
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    for path, host, status in (("x", None, 404), ("../etc/passwd", None, 404), ("", "evil", 403)):
        with pytest.raises(urllib.error.HTTPError) as error:
            get(address, path, **({"Host": host} if host else {}))
        assert error.value.code == status
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(timeout=PATIENCE) == 0


def test_port_in_use_is_an_error_that_names_the_option(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        command = [sys.executable, str(SCRIPT), "--port", str(taken.getsockname()[1])]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "error: --port: " in done.stderr
    assert "Traceback" not in done.stderr
