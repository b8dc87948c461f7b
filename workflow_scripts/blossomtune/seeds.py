"""One seed a purpose: every random choice of the workflow names what it is for."""

import hashlib


def derive_seed(seed: int, *purpose: str | int) -> int:
    """A 32-bit seed for one purpose, independent of those for all others.

    Args:
        seed: the configuration's ``seed``.
        purpose: what the numbers are for, e.g. ``("batches", client, epoch)``.

    Returns:
        An integer in [0, 2**32): the first four bytes of the SHA-256 of seed and purpose, the
        same on every machine and Python version.
    """
    text = "\x1f".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
