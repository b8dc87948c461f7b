"""Keys of a federation: a private authority, the SuperLink's certificate, a key pair a SuperNode.

What lies in the folder and is still good stays as it is, so making keys again renews what has to
be renewed and nothing else. Whoever has an authority of their own puts its certificate, and the
SuperLink's certificate and key, into the folder, without the authority's key.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from blossomtune.deployment.certificates import (
    _certificate_builder,
    _key_usage,
    _load_certificate,
    _to_general_name,
    _to_pem,
)
from blossomtune.errors import UserError
from blossomtune.files import write_private_file

CA_VALIDITY_DAYS, SUPERLINK_VALIDITY_DAYS = 3650, 365


RENEW_BEFORE_DAYS = 30
"""A certificate that expires within so many days is made anew, with the same authority."""


class KeyStore:
    """The files of a folder of keys.

    Attributes:
        authority: certificate of the authority that SuperNodes trust, PEM.
        certificate: of the SuperLink, PEM.
        key: of the SuperLink, PEM.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca_certificate, self._ca_key = folder / "ca.crt", folder / "ca.key"
        self.superlink_certificate, self.superlink_key = (
            folder / "superlink.crt",
            folder / "superlink.key",
        )

    def supernode_key(self, client: int | str) -> Path:
        """Private key of a client's SuperNode, in OpenSSH's format."""
        return self.folder / f"supernode_{client}.key"

    def supernode_public_key(self, client: int | str) -> Path:
        """Public key of a client's SuperNode, in OpenSSH's format."""
        return self.folder / f"supernode_{client}.pub"

    def create_missing(self, hosts: Sequence[str], clients: Iterable[int | str]) -> list[str]:
        """Makes what is missing or about to expire.

        A client that has made its key itself has only the public half here.

        Args:
            hosts: names and addresses under which SuperNodes reach the SuperLink.
            clients: numbers or names of the clients, after which keys are called.

        Returns:
            The names of the files that were made.

        Raises:
            UserError: where others may read a key, where a file is not what it should be, or where
                a certificate of the user's own authority does not do.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in self.folder.iterdir():
            _require_owner_only(path)
        before = {path: path.stat().st_mtime_ns for path in self.folder.iterdir()}
        now = datetime.now(UTC)
        own = self.ca_certificate.exists() and not self._ca_key.exists()
        if not own and self._remaining_validity(self.ca_certificate, now) < timedelta(
            days=RENEW_BEFORE_DAYS
        ):
            self._create_ca(now)
        fault = self._find_certificate_problem(hosts, now)
        if fault and own:
            raise UserError(
                f"{self.superlink_certificate}: {fault}",
                f"make a new one with your authority, or remove {self.folder} to have one made",
            )
        if fault:
            self._create_superlink_certificate(hosts, now)
        for client in clients:
            if not self.supernode_public_key(client).exists():
                self._create_supernode_key(client)
            _require_elliptic_curve(self.supernode_public_key(client))
        return sorted(
            p.name for p in self.folder.iterdir() if p.stat().st_mtime_ns != before.get(p)
        )

    def _remaining_validity(self, path: Path, now: datetime) -> timedelta:
        return _load_certificate(path).not_valid_after_utc - now if path.exists() else timedelta(0)

    def _find_certificate_problem(self, hosts: Sequence[str], now: datetime) -> str | None:
        """Why the SuperLink's certificate does not do; None if it does."""
        if not (self.superlink_certificate.exists() and self.superlink_key.exists()):
            return "there is none"
        found = _load_certificate(self.superlink_certificate)
        left = found.not_valid_after_utc - now
        if left < timedelta(0):
            return f"it expired on {found.not_valid_after_utc:%Y-%m-%d}"
        if self._ca_key.exists() and left < timedelta(days=RENEW_BEFORE_DAYS):
            return f"it expires on {found.not_valid_after_utc:%Y-%m-%d}"
        authority = _load_certificate(self.ca_certificate)
        try:
            found.verify_directly_issued_by(authority)
        except (InvalidSignature, ValueError, TypeError):
            return f"it was not issued by {self.ca_certificate.name}"
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        missing = [host for host in hosts if _to_general_name(host) not in list(names)]
        return f"it is not for {', '.join(missing)}" if missing else None

    def _create_ca(self, now: datetime) -> None:
        key = ec.generate_private_key(ec.SECP384R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "BlossomTune federation")])
        made = (
            _certificate_builder(name, name, key, now, CA_VALIDITY_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(sign_certificates=True), critical=True)
            .sign(key, hashes.SHA384())
        )
        write_private_file(self._ca_key, _to_pem(key))
        write_private_file(self.ca_certificate, made.public_bytes(serialization.Encoding.PEM))

    def _create_superlink_certificate(self, hosts: Iterable[str], now: datetime) -> None:
        authority = _load_certificate(self.ca_certificate)
        signer = serialization.load_pem_private_key(self._ca_key.read_bytes(), None)
        key = ec.generate_private_key(ec.SECP384R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "SuperLink")])
        made = (
            _certificate_builder(name, authority.subject, key, now, SUPERLINK_VALIDITY_DAYS)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(sign_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(
                x509.SubjectAlternativeName(map(_to_general_name, hosts)), critical=False
            )
            .sign(signer, hashes.SHA384())
        )
        write_private_file(self.superlink_key, _to_pem(key))
        write_private_file(
            self.superlink_certificate, made.public_bytes(serialization.Encoding.PEM)
        )

    def _create_supernode_key(self, client: int | str) -> None:
        key = ec.generate_private_key(ec.SECP384R1())
        none = serialization.NoEncryption()
        openssh = serialization.PrivateFormat.OpenSSH
        write_private_file(
            self.supernode_key(client), key.private_bytes(serialization.Encoding.PEM, openssh, none)
        )
        public = key.public_key().public_bytes(
            serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
        )
        write_private_file(self.supernode_public_key(client), public + b"\n")


def _require_elliptic_curve(path: Path) -> None:
    """Refuses what Flower cannot check the signatures of."""
    try:
        if isinstance(
            serialization.load_ssh_public_key(path.read_bytes()), ec.EllipticCurvePublicKey
        ):
            return
    except (ValueError, UnsupportedAlgorithm):
        pass
    raise UserError(
        f"{path} is not a public key of an elliptic curve in OpenSSH's format",
        "ssh-keygen -t ecdsa -b 384 -N '' -f supernode.key makes such a pair",
    )


def _require_owner_only(path: Path) -> None:
    if path.suffix == ".key" and path.stat().st_mode & 0o077:
        raise UserError(f"others may read {path}", f"chmod 600 {path}")
