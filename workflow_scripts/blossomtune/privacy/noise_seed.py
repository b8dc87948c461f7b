"""Seed of the privacy noise: the server's secret and NumPy's generator."""

import hashlib
import hmac
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from blossomtune.config.federation import PrivacySettings
from blossomtune.errors import UserError

MIN_SECRET_BYTES = 16
"""Shortest secret: 128 bits are too many for an exhaustive search."""


def read_secret(privacy: PrivacySettings) -> bytes:
    """Return the content of the secret file, empty if the settings name none.

    Args:
        privacy: The federation's privacy settings.

    Returns:
        At least ``MIN_SECRET_BYTES`` bytes, or none.

    Raises:
        UserError: If the file is missing, too short or accessible to others than its owner.
    """
    if privacy.secret is None:
        return b""
    label = f"federation.privacy.secret {privacy.secret}"
    file = Path(privacy.secret)
    hint = f"make one with: umask 077; head -c 32 /dev/urandom > {file}"
    try:
        content, mode = file.read_bytes(), file.stat().st_mode
    except OSError as error:
        raise UserError(f"{label} cannot be read: {error.strerror}", hint) from None
    if mode & 0o077:
        raise UserError(f"{label} is open to others than its owner", f"chmod 600 {file}")
    if len(content) < MIN_SECRET_BYTES:
        raise UserError(
            f"{label} has {len(content)} bytes, at least {MIN_SECRET_BYTES} wanted", hint
        )
    return content


def fingerprint_secret(privacy: PrivacySettings) -> str | None:
    """Return 16 hexadecimal digits that identify the secret without revealing it, or None."""
    key = read_secret(privacy)
    return hmac.digest(key, b"fingerprint", "sha256").hex()[:16] if key else None


@contextmanager
def seeded_numpy_rng(key: bytes, seed_material: Iterable[bytes]) -> Iterator[None]:
    """Seed NumPy's global generator, which Flower draws noise from, and restore it afterwards.

    The seed is an HMAC over everything that the noise is added to, as in deterministic signatures
    (RFC 6979). A seed from the configuration alone would repeat the noise in other experiments,
    and the difference of two adapters would be free of it.

    Args:
        key: The server's secret.
        seed_material: Byte strings that determine the noise.

    Yields:
        None, while the generator is seeded.
    """
    code = hmac.new(key, digestmod=hashlib.sha512)
    for part in seed_material:
        code.update(hashlib.sha256(part).digest())
    state = np.random.get_state()
    # 512 bits: a single 32-bit seed could be searched exhaustively.
    np.random.seed(np.frombuffer(code.digest(), ">u4").astype(np.uint32))
    try:
        yield
    finally:
        np.random.set_state(state)
