"""Create and check the X.509 certificates of a federation."""

import ipaddress
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from blossomtune.errors import UserError

CA_VALIDITY_DAYS, SUPERLINK_VALIDITY_DAYS = 3650, 365

CLOCK_SKEW = timedelta(days=1)
"""Certificates are valid this long before now, for hosts whose clocks are behind or set back."""

CertificateAndKey = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


def create_ca_certificate(now: datetime) -> CertificateAndKey:
    """Create a self-signed certificate authority with a P-384 key, valid from now."""
    key = ec.generate_private_key(ec.SECP384R1())
    subject = _to_name("BlossomTune federation")
    builder = _certificate_builder(subject, subject, key, now, CA_VALIDITY_DAYS)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_key_usage(is_ca=True), critical=True)
    return builder.sign(key, hashes.SHA384()), key


def create_superlink_certificate(
    hosts: Iterable[str],
    ca_certificate: x509.Certificate,
    ca_key: CertificateIssuerPrivateKeyTypes,
    now: datetime,
) -> CertificateAndKey:
    """Create a server certificate with a P-384 key.

    Args:
        hosts: Names and IP addresses of the server.
        ca_certificate: Certificate of the issuing authority.
        ca_key: Private key of the issuing authority.
        now: Start of the validity.

    Returns:
        The certificate and its private key.
    """
    key = ec.generate_private_key(ec.SECP384R1())
    names = x509.SubjectAlternativeName([_to_general_name(host) for host in hosts])
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    issuer = ca_certificate.subject
    builder = _certificate_builder(_to_name("SuperLink"), issuer, key, now, SUPERLINK_VALIDITY_DAYS)
    builder = builder.add_extension(
        x509.BasicConstraints(ca=False, path_length=None), critical=True
    )
    builder = builder.add_extension(_key_usage(is_ca=False), critical=True)
    builder = builder.add_extension(usage, critical=False)
    builder = builder.add_extension(names, critical=False)
    return builder.sign(ca_key, hashes.SHA384()), key


def find_certificate_problem(
    path: Path, ca_path: Path, hosts: Sequence[str], valid_until: datetime
) -> str | None:
    """Check a server certificate.

    Args:
        path: The certificate, PEM.
        ca_path: Certificate of its authority, PEM.
        hosts: Names and IP addresses that it must be for.
        valid_until: Time at which it must not have expired.

    Returns:
        The first problem, or None.
    """
    certificate = load_certificate(path)
    expiry = certificate.not_valid_after_utc
    if expiry < valid_until:
        return f"it is valid only until {expiry:%Y-%m-%d}"
    try:
        certificate.verify_directly_issued_by(load_certificate(ca_path))
    except (InvalidSignature, ValueError, TypeError):
        return f"it was not issued by {ca_path.name}"
    extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    missing = [host for host in hosts if _to_general_name(host) not in list(extension.value)]
    return f"it is not for {', '.join(missing)}" if missing else None


def load_certificate(path: Path) -> x509.Certificate:
    """Load a PEM certificate; raise UserError if the file is none."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except ValueError as error:
        raise UserError(f"{path} is not a certificate in PEM format: {error}") from error


def to_pem(item: x509.Certificate | ec.EllipticCurvePrivateKey) -> bytes:
    """Return a certificate or an unencrypted private key (PKCS #8) as PEM."""
    if isinstance(item, x509.Certificate):
        return item.public_bytes(serialization.Encoding.PEM)
    return item.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _to_name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _to_general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _certificate_builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    now: datetime,
    validity_days: int,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + timedelta(days=validity_days))
    )


def _key_usage(*, is_ca: bool) -> x509.KeyUsage:
    unused = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    return x509.KeyUsage(
        digital_signature=not is_ca,
        key_cert_sign=is_ca,
        crl_sign=is_ca,
        encipher_only=False,
        decipher_only=False,
        **dict.fromkeys(unused, False),
    )
