"""Derive one seed per purpose from the configuration's seed."""

import hashlib


def derive_seed(seed: int, *purpose: str | int) -> int:
    """Return a 32-bit seed for one purpose, independent of the seeds for other purposes.

    Args:
        seed: The configuration's ``seed``.
        *purpose: What the random numbers are for, e.g. ``("batches", client, epoch)``.

    Returns:
        Integer in [0, 2**32): the first four bytes of the SHA-256 of seed and purpose. It is the
        same on every machine and Python version.
    """
    text = "\x1f".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
