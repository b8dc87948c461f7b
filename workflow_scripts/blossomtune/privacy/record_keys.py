"""Keys that Flower's clipping mods and wrappers use in configs and metrics."""

from blossomtune.config.federation import PrivacySettings

CLIPPING_NORM_KEY = "clipping_norm"
"""Key of the L2 norm that clients clip their updates to, in a train message's config."""

NORM_BIT_KEY = "norm_bit"
"""Key of the bit that says if an update was clipped, in a train reply's metrics."""


def sends_norm_bit(privacy: PrivacySettings | None) -> bool:
    """Return whether clients report if their update was clipped."""
    return privacy is not None and privacy.side == "client" and privacy.clipping == "adaptive"
