"""Message that a ClientApp answers at once."""

from flwr.app import MessageType

NUDGE_ACTION = "nudge"
NUDGE = f"{MessageType.QUERY}.{NUDGE_ACTION}"
"""Type of the message; Flower separates actions by a dot."""
