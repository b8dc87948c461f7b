"""Find out how the programs of Flower reach a SuperLink that others run."""

import json
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path

from blossomtune.config.engines import FlowerEngine, is_loopback
from blossomtune.errors import UserError
from blossomtune.files import expand_home

CONFIG_FILE = "config.toml"
OWN_CONNECTION = "superlink"
"""Name of the connection that we write for ``federation.engine.address``."""


@dataclass(frozen=True)
class Connection:
    """A SuperLink as Flower's programs reach it.

    Attributes:
        name: Name of the connection in ``config.toml``.
        home: Folder of that file; the programs call it ``FLWR_HOME``.
        address: Address as ``host:port``.
        root_certificates: Certificate of the authority; None for those that Python trusts.
        is_encrypted: Whether messages are encrypted.
    """

    name: str
    home: Path
    address: str
    root_certificates: Path | None
    is_encrypted: bool

    @property
    def tls_arguments(self) -> list[str]:
        """Arguments of Flower's programs for this address."""
        if not self.is_encrypted:
            return ["--insecure"]
        return ["--root-certificates", str(self.root_certificates)] * bool(self.root_certificates)


def resolve_connection(engine: FlowerEngine, tls: bool, own_home: Path) -> Connection:
    """Return the connection of the configuration.

    Args:
        engine: The engine.
        tls: Whether ``federation.tls`` asks for encryption.
        own_home: Folder for a ``config.toml``, if the engine has an address.

    Returns:
        The connection.

    Raises:
        UserError: If there is none of that name, it has no address, the certificate does not
            exist, or messages to another machine would not be encrypted.
    """
    if engine.address is None:
        return _read_connection(str(engine.connection), tls)
    certificate = None
    if engine.root_certificates:
        certificate = expand_home(engine.root_certificates).resolve()
        _require_file(certificate, "federation.engine.root_certificates")
    connection = Connection(OWN_CONNECTION, own_home, engine.address, certificate, tls)
    _write_config(connection)
    return connection


def _read_connection(name: str, tls: bool) -> Connection:
    home = Path(os.environ.get("FLWR_HOME") or Path.home() / ".flwr")
    file, key = home / CONFIG_FILE, "federation.engine.connection"
    try:
        connections = tomllib.loads(file.read_text(encoding="utf-8")).get("superlink", {})
    except FileNotFoundError:
        raise UserError(
            f"{key}: {name}: there is no {file}",
            "FLWR_HOME names the folder of Flower's config.toml; or give address",
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{key}: {name}: {file} is not TOML: {error}") from None
    names = [n for n, value in connections.items() if isinstance(value, dict)]
    if name not in names:
        raise UserError(
            f"{key}: {name} is not in {file}", f"its connections: {', '.join(names) or 'none'}"
        )
    block = connections[name]
    address = str(block.get("address", ""))
    if not address or address.startswith(":"):
        raise UserError(
            f"{key}: {name} of {file} has no address of a SuperLink",
            "engine simulation is for this machine",
        )
    is_encrypted = not block.get("insecure", False)
    if not (is_encrypted or is_loopback(address)):
        raise UserError(
            f"{key}: {name} of {file} is insecure, and {address} is another machine",
            "remove `insecure` there, and start the SuperLink with a certificate",
        )
    if is_encrypted != tls:
        raise UserError(
            f"{key}: {name} of {file} is {'encrypted' if is_encrypted else 'insecure'}, and "
            f"federation.tls is {str(tls).lower()}",
            "with tls: false, a node is the client that it says it is; change one of the two",
        )
    certificate = None
    if block.get("root-certificates"):
        certificate = Path(block["root-certificates"]).resolve()
        _require_file(certificate, f"root-certificates of {name} in {file}")
    return Connection(name, home, address, certificate, is_encrypted)


def _require_file(path: Path, key: str) -> None:
    if not path.is_file():
        raise UserError(f"{key}: there is no file {path}")


def _write_config(connection: Connection) -> None:
    """Write a ``config.toml`` with the connection alone."""
    lines = [f"[superlink.{connection.name}]", f"address = {json.dumps(connection.address)}"]
    if connection.root_certificates:
        path = json.dumps(str(connection.root_certificates), ensure_ascii=False)
        lines.append(f"root-certificates = {path}")
    lines.append(f"insecure = {str(not connection.is_encrypted).lower()}")
    connection.home.mkdir(parents=True, exist_ok=True)
    (connection.home / CONFIG_FILE).write_text("\n".join(lines) + "\n", encoding="utf-8")
