"""Keys of a federation: a private authority, the SuperLink's certificate, a key pair a SuperNode.

What lies in the folder and is still good stays as it is, so making keys again renews what has to
be renewed and nothing else. Whoever has an authority of their own puts its certificate, and the
SuperLink's certificate and key, into the folder, without the authority's key.
"""

import ipaddress
import os
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from blossomtune.errors import UserError

AUTHORITY_DAYS, SUPERLINK_DAYS = 3650, 365
RENEW_DAYS = 30
"""A certificate that expires within so many days is made anew, with the same authority."""


class Keys:
    """The files of a folder of keys.

    Attributes:
        authority: certificate of the authority that SuperNodes trust, PEM.
        certificate: of the SuperLink, PEM.
        key: of the SuperLink, PEM.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority, self._authority_key = folder / "ca.crt", folder / "ca.key"
        self.certificate, self.key = folder / "superlink.crt", folder / "superlink.key"

    def node(self, client: int | str) -> Path:
        """Private key of a client's SuperNode, in OpenSSH's format."""
        return self.folder / f"supernode_{client}.key"

    def public(self, client: int | str) -> Path:
        """Public key of a client's SuperNode, in OpenSSH's format."""
        return self.folder / f"supernode_{client}.pub"

    def make(self, hosts: Sequence[str], clients: Iterable[int | str]) -> list[str]:
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
            _private(path)
        before = {path: path.stat().st_mtime_ns for path in self.folder.iterdir()}
        now = datetime.now(UTC)
        own = self.authority.exists() and not self._authority_key.exists()
        if not own and self._left(self.authority, now) < timedelta(days=RENEW_DAYS):
            self._make_authority(now)
        fault = self._fault(hosts, now)
        if fault and own:
            raise UserError(
                f"{self.certificate}: {fault}",
                f"make a new one with your authority, or remove {self.folder} to have one made",
            )
        if fault:
            self._make_certificate(hosts, now)
        for client in clients:
            if not self.public(client).exists():
                self._make_node(client)
            _elliptic(self.public(client))
        return sorted(
            p.name for p in self.folder.iterdir() if p.stat().st_mtime_ns != before.get(p)
        )

    def _left(self, path: Path, now: datetime) -> timedelta:
        return _certificate(path).not_valid_after_utc - now if path.exists() else timedelta(0)

    def _fault(self, hosts: Sequence[str], now: datetime) -> str | None:
        """Why the SuperLink's certificate does not do; None if it does."""
        if not (self.certificate.exists() and self.key.exists()):
            return "there is none"
        found = _certificate(self.certificate)
        left = found.not_valid_after_utc - now
        if left < timedelta(0):
            return f"it expired on {found.not_valid_after_utc:%Y-%m-%d}"
        if self._authority_key.exists() and left < timedelta(days=RENEW_DAYS):
            return f"it expires on {found.not_valid_after_utc:%Y-%m-%d}"
        authority = _certificate(self.authority)
        try:
            found.verify_directly_issued_by(authority)
        except (InvalidSignature, ValueError, TypeError):
            return f"it was not issued by {self.authority.name}"
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        missing = [host for host in hosts if _name(host) not in list(names)]
        return f"it is not for {', '.join(missing)}" if missing else None

    def _make_authority(self, now: datetime) -> None:
        key = ec.generate_private_key(ec.SECP384R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "BlossomTune federation")])
        made = (
            _builder(name, name, key, now, AUTHORITY_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(sign_certificates=True), critical=True)
            .sign(key, hashes.SHA384())
        )
        write_private(self._authority_key, _pem(key))
        write_private(self.authority, made.public_bytes(serialization.Encoding.PEM))

    def _make_certificate(self, hosts: Iterable[str], now: datetime) -> None:
        authority = _certificate(self.authority)
        signer = serialization.load_pem_private_key(self._authority_key.read_bytes(), None)
        key = ec.generate_private_key(ec.SECP384R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "SuperLink")])
        made = (
            _builder(name, authority.subject, key, now, SUPERLINK_DAYS)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(sign_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectAlternativeName(map(_name, hosts)), critical=False)
            .sign(signer, hashes.SHA384())
        )
        write_private(self.key, _pem(key))
        write_private(self.certificate, made.public_bytes(serialization.Encoding.PEM))

    def _make_node(self, client: int | str) -> None:
        key = ec.generate_private_key(ec.SECP384R1())
        none = serialization.NoEncryption()
        openssh = serialization.PrivateFormat.OpenSSH
        write_private(
            self.node(client), key.private_bytes(serialization.Encoding.PEM, openssh, none)
        )
        public = key.public_key().public_bytes(
            serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
        )
        write_private(self.public(client), public + b"\n")


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))  # clocks of other hosts may be behind
        .not_valid_after(now + timedelta(days=days))
    )


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    others = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
        **dict.fromkeys(others, False),
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except ValueError as error:
        raise UserError(f"{path} is not a certificate in PEM format: {error}") from error


def _elliptic(path: Path) -> None:
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


def _private(path: Path) -> None:
    if path.suffix == ".key" and path.stat().st_mode & 0o077:
        raise UserError(f"others may read {path}", f"chmod 600 {path}")


def write_private(path: Path, content: bytes) -> None:
    """Writes a file that only its owner can read, whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    partial.replace(path)
