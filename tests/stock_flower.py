"""SuperLink and SuperNodes as others run them: Flower's own programs, with TLS and keys."""

import json
import os
import secrets
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from patience import PATIENCE

from blossomtune.deployment.backend import CODE_DIR
from blossomtune.deployment.keys import KeyStore

BIN = Path(sys.executable).parent
START_TIMEOUT_SECONDS = 120


def find_free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class StockFlower:
    """A SuperLink of Flower's own, and SuperNodes that are registered with it.

    Args:
        home: Folder of its files.
        clients: Names of the clients.
        isolation: Isolation mode of the SuperLink.
    """

    def __init__(self, home, clients, isolation="subprocess"):
        self.home, self.clients = home, clients
        self.port = find_free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.keys = KeyStore(home / "keys")
        self.keys.create_missing(["127.0.0.1"], clients)
        self.secret = home / "secret"
        self.secret.write_text(secrets.token_hex(32))
        self.processes, self.supernodes, self.warm_supernodes = [], [], []
        self._isolation = ["--isolation", isolation]
        if isolation == "process":
            self._isolation += ["--superexec-auth-secret-file", str(self.secret)]
        config = [f'[superlink.lab]\naddress = "{self.address}"']
        config.append(f'root-certificates = "{self.keys.ca_certificate}"')
        (home / "config.toml").write_text("\n".join(config) + "\n")

    def start_superlink(self):
        """Start the SuperLink and wait until it listens."""
        keys = self.keys
        self.superlink = self.start(
            "flower-superlink",
            *("--host", "127.0.0.1", "--port", str(self.port)),
            *("--ssl-ca-certfile", keys.ca_certificate),
            *("--ssl-certfile", keys.superlink_certificate, "--ssl-keyfile", keys.superlink_key),
            *("--enable-supernode-auth", "--disable-runtime-dependency-installation"),
            *("--database", self.home / "state.db", *self._isolation),
        )
        end = time.monotonic() + START_TIMEOUT_SECONDS
        with socket.socket() as client:
            while client.connect_ex(("127.0.0.1", self.port)):
                assert self.superlink.poll() is None and time.monotonic() < end, self.read_log()
                time.sleep(0.2)

    def restart_superlink(self):
        """Kill the SuperLink, and start it again with the same database."""
        self.superlink.kill()
        self.superlink.wait()
        self.start_superlink()

    def register(self, client):
        """Register the key of a client under its name."""
        key = self.keys.supernode_public_key(client)
        answer = self.run("flwr", "supernode", "register", key, "lab", "--name", client)
        assert answer["success"], answer

    def start_supernode(self, client, node_config):
        """Start the SuperNode of a client.

        Nodes that share a home may load an app that another one is unpacking there.
        """
        home = self.home / "homes" / client
        home.mkdir(parents=True)
        supernode = self.start(
            "flower-supernode",
            *("--superlink", self.address, "--root-certificates", self.keys.ca_certificate),
            *("--auth-supernode-private-key", self.keys.supernode_key(client)),
            *("--port", str(find_free_port()), "--node-config", node_config),
            home=home,
        )
        self.supernodes.append(supernode)
        return supernode

    def start_warm_supernode(self, client, command):
        """Start our own SuperNode of a client, as a command of the guide says.

        Args:
            client: Name of the client.
            command: Arguments of the program that the wheel installs.
        """
        values = {
            "superlink.example.org:8000": self.address,
            "keys/ca.crt": self.keys.ca_certificate,
            "keys/supernode_north.key": self.keys.supernode_key(client),
            'client="north"': f'client="{client}"',
        }
        for example, value in values.items():
            command = [word.replace(example, str(value)) for word in command]
        # not by PYTHONPATH, which Flower's own programs must do without
        code = f"import sys; sys.path.insert(0, {str(CODE_DIR)!r}); "
        code += "from blossomtune.commands.program import main; main()"
        self.warm_supernodes.append(self.start("python", "-c", code, *command))

    def run(self, *command):
        """Run a program of Flower; return its JSON."""
        command = [BIN / command[0], *command[1:], "--format", "json"]
        result = subprocess.run(
            [str(item) for item in command], env=self._environment(), capture_output=True, text=True
        )
        return json.loads(result.stdout)

    def start(self, program, *arguments, home=None):
        """Start a program of Flower."""
        with (self.home / f"{program}.log").open("ab") as log:
            process = subprocess.Popen(
                [str(BIN / program), *map(str, arguments)],
                env=self._environment(home),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.processes.append(process)
        return process

    def list_processes(self):
        """Return the processes that the programs have started."""
        parents = [psutil.Process(process.pid) for process in self.processes]
        return [child for parent in parents for child in parent.children(recursive=True)]

    def read_log(self):
        """Return the output of all programs."""
        return "\n".join(path.read_text(errors="replace") for path in self.home.glob("*.log"))

    def stop(self):
        """Stop our own programs; kill Flower's, and what they have started."""
        for supernode in self.warm_supernodes:
            supernode.terminate()
            supernode.wait(PATIENCE)
            self.processes.remove(supernode)
        children = []
        for process in self.processes:
            with suppress(psutil.NoSuchProcess):
                children += psutil.Process(process.pid).children(recursive=True)
            process.kill()
            process.wait()
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()

    def _environment(self, home=None):
        # one thread: the result is the same, and clients share the cores
        return os.environ | {
            "FLWR_HOME": str(home or self.home),
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_UPDATE_CHECK": "1",
            "CUDA_VISIBLE_DEVICES": "",
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        }


@contextmanager
def start_stock_flower(home, node_configs, isolation="subprocess", warm_commands=None):
    """Yield a SuperLink with a SuperNode per client.

    Args:
        home: Folder of their files.
        node_configs: Configuration of each client's node, by the client's name.
        isolation: Isolation mode of the SuperLink.
        warm_commands: Commands of our own SuperNodes, by the client's name.
    """
    warm_commands = warm_commands or {}
    flower = StockFlower(home, list(node_configs), isolation)
    try:
        flower.start_superlink()
        for client, config in node_configs.items():
            flower.register(client)
            if client in warm_commands:
                flower.start_warm_supernode(client, warm_commands[client])
            else:
                flower.start_supernode(client, config)
        yield flower
    finally:
        flower.stop()
