"""Create and renew the keys of a federation.

The folder has a private certificate authority, the SuperLink's certificate, and one key pair per
SuperNode. Valid files stay as they are. A user's own authority puts its certificate, and the
SuperLink's certificate and key, into the folder, without the authority's key.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes

from blossomtune.deployment.certificates import (
    create_ca_certificate,
    create_superlink_certificate,
    find_certificate_problem,
    load_certificate,
    to_pem,
)
from blossomtune.errors import UserError
from blossomtune.files import write_private_file
from blossomtune.public_keys import KEYGEN_HINT, load_public_key

RENEW_BEFORE = timedelta(days=30)
"""Certificates that expire within this time are renewed."""


class KeyStore:
    """Files of a folder of keys.

    Args:
        folder: The folder, which need not exist.

    Attributes:
        ca_certificate: Certificate of the authority that SuperNodes trust, PEM.
        superlink_certificate: Certificate of the SuperLink, PEM.
        superlink_key: Private key of the SuperLink, PEM.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca_certificate, self._ca_key = folder / "ca.crt", folder / "ca.key"
        self.superlink_certificate = folder / "superlink.crt"
        self.superlink_key = folder / "superlink.key"

    def supernode_key(self, client: int | str) -> Path:
        """Return the path of a SuperNode's private key in OpenSSH format."""
        return self.folder / f"supernode_{client}.key"

    def supernode_public_key(self, client: int | str) -> Path:
        """Return the path of a SuperNode's public key in OpenSSH format."""
        return self.folder / f"supernode_{client}.pub"

    def create_missing(self, hosts: Sequence[str], clients: Iterable[int | str]) -> list[str]:
        """Create what is missing, and renew certificates that expire soon.

        A client that created its own key pair has only its public key here.

        Args:
            hosts: Names and addresses under which SuperNodes reach the SuperLink.
            clients: Numbers or names of the clients, which are part of their keys' names.

        Returns:
            The names of the files that were created or renewed.

        Raises:
            UserError: If others may read a key, a file has another format, or a certificate of
                the user's own authority has a problem.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in self.folder.iterdir():
            _require_owner_only(path)
        times_before = {path: path.stat().st_mtime_ns for path in self.folder.iterdir()}
        now = datetime.now(UTC)
        is_users_ca = self.ca_certificate.exists() and not self._ca_key.exists()
        if not is_users_ca and self._ca_expires_before(now + RENEW_BEFORE):
            self._create_ca(now)
        problem = self._find_problem(hosts, now if is_users_ca else now + RENEW_BEFORE)
        if problem and is_users_ca:
            raise UserError(
                f"{self.superlink_certificate}: {problem}",
                f"make a new one with your authority, or remove {self.folder} to have one made",
            )
        if problem:
            self._create_superlink_certificate(hosts, now)
        for client in clients:
            if not self.supernode_public_key(client).exists():
                self._create_supernode_key(client)
            load_public_key(self.supernode_public_key(client))
        return sorted(
            p.name for p in self.folder.iterdir() if p.stat().st_mtime_ns != times_before.get(p)
        )

    def replace_supernode_key(self, client: int | str) -> None:
        """Create another key pair for a client; a run that goes on accepts only the new one."""
        self._require_supernode_key(client)
        self._create_supernode_key(client)

    def revoke_supernode_key(self, client: int | str) -> None:
        """Remove a client's key pair; a run that goes on does not accept it any more."""
        self._require_supernode_key(client)
        for path in (self.supernode_public_key(client), self.supernode_key(client)):
            path.unlink(missing_ok=True)

    def _require_supernode_key(self, client: int | str) -> None:
        if self.supernode_public_key(client).exists():
            return
        prefix = "supernode_"
        names = sorted(p.stem.removeprefix(prefix) for p in self.folder.glob(f"{prefix}*.pub"))
        raise UserError(
            f"{client!r} has no key in {self.folder}",
            f"clients with keys: {', '.join(names) or 'none'}",
        )

    def _ca_expires_before(self, time: datetime) -> bool:
        if not self.ca_certificate.exists():
            return True
        return load_certificate(self.ca_certificate).not_valid_after_utc < time

    def _find_problem(self, hosts: Sequence[str], valid_until: datetime) -> str | None:
        if not (self.superlink_certificate.exists() and self.superlink_key.exists()):
            return "there is none"
        return find_certificate_problem(
            self.superlink_certificate, self.ca_certificate, hosts, valid_until
        )

    def _create_ca(self, now: datetime) -> None:
        certificate, key = create_ca_certificate(now)
        write_private_file(self._ca_key, to_pem(key))
        write_private_file(self.ca_certificate, to_pem(certificate))

    def _create_superlink_certificate(self, hosts: Iterable[str], now: datetime) -> None:
        ca_key = serialization.load_pem_private_key(self._ca_key.read_bytes(), None)
        certificate, key = create_superlink_certificate(
            hosts,
            load_certificate(self.ca_certificate),
            cast(CertificateIssuerPrivateKeyTypes, ca_key),
            now,
        )
        write_private_file(self.superlink_key, to_pem(key))
        write_private_file(self.superlink_certificate, to_pem(certificate))

    def _create_supernode_key(self, client: int | str) -> None:
        key = ec.generate_private_key(ec.SECP384R1())
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.OpenSSH,
            serialization.NoEncryption(),
        )
        public = key.public_key().public_bytes(
            serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
        )
        write_private_file(self.supernode_key(client), private)
        write_private_file(self.supernode_public_key(client), public + b"\n")


def load_private_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Load a private key in OpenSSH format; raise UserError unless Flower can sign with it."""
    try:
        key = serialization.load_ssh_private_key(path.read_bytes(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key
    raise UserError(
        f"{path} is not a private key of an elliptic curve in OpenSSH's format", KEYGEN_HINT
    )


def _require_owner_only(path: Path) -> None:
    if path.suffix == ".key" and path.stat().st_mode & 0o077:
        raise UserError(f"others may read {path}", f"chmod 600 {path}")
