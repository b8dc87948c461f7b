"""Read public keys of SuperNodes, and compute their fingerprints."""

import hashlib
from base64 import b64decode, b64encode
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from blossomtune.errors import UserError

KEYGEN_HINT = "ssh-keygen -t ecdsa -b 384 -N '' -f supernode.key makes such a pair"


def load_public_key(path: Path) -> ec.EllipticCurvePublicKey:
    """Load a public key in OpenSSH format; raise UserError unless Flower can verify signatures."""
    try:
        key = serialization.load_ssh_public_key(path.read_bytes())
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key
    raise UserError(
        f"{path} is not a public key of an elliptic curve in OpenSSH's format", KEYGEN_HINT
    )


def compute_fingerprint(key: ec.EllipticCurvePublicKey) -> str:
    """Return the fingerprint of a public key, as ``ssh-keygen -l`` prints it."""
    text = key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    digest = hashlib.sha256(b64decode(text.split()[1])).digest()
    return f"SHA256:{b64encode(digest).decode().rstrip('=')}"
