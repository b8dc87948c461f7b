"""TODO docstring."""

import hashlib
import hmac
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from blossomtune.config.federation import PrivacySettings
from blossomtune.errors import UserError

MIN_SECRET_BYTES = 16
"""Of a secret: 128 bits cannot be tried out."""


def read_secret(privacy: PrivacySettings) -> bytes:
    """The content of the secret's file; nothing where the block names none.

    Raises:
        UserError: where the file is missing, too short or open to others than its owner.
    """
    if privacy.secret is None:
        return b""
    named = f"federation.privacy.secret {privacy.secret}"
    file = Path(privacy.secret)
    hint = f"make one with: umask 077; head -c 32 /dev/urandom > {file}"
    try:
        content, mode = file.read_bytes(), file.stat().st_mode
    except OSError as error:
        raise UserError(f"{named} cannot be read: {error.strerror}", hint) from None
    if mode & 0o077:
        raise UserError(f"{named} is open to others than its owner", f"chmod 600 {file}")
    if len(content) < MIN_SECRET_BYTES:
        raise UserError(
            f"{named} has {len(content)} bytes, at least {MIN_SECRET_BYTES} wanted", hint
        )
    return content


def fingerprint_secret(privacy: PrivacySettings) -> str | None:
    """Tells one secret from another without giving it away; None where there is none."""
    key = read_secret(privacy)
    return hmac.digest(key, b"fingerprint", "sha256").hex()[:16] if key else None


@contextmanager
def seeded_numpy_rng(key: bytes, seed_material: Iterable[bytes]) -> Iterator[None]:
    """Seeds numpy's global generator, from which Flower draws, and puts it back afterwards.

    The numbers follow from the secret and from everything that the noise is added to, as in
    deterministic signatures (RFC 6979). Noise that followed from seed and round alone would be the
    same in another experiment, and taking one adapter from the other would take it away.

    Args:
        key: the secret.
        about: what the noise is for; anything else gets other noise.
    """
    code = hmac.new(key, digestmod=hashlib.sha512)
    for part in seed_material:
        code.update(hashlib.sha256(part).digest())
    before = np.random.get_state()
    # One number of 32 bits could be found by trying; sixteen of them are 512 bits.
    np.random.seed(np.frombuffer(code.digest(), ">u4").astype(np.uint32))
    try:
        yield
    finally:
        np.random.set_state(before)
