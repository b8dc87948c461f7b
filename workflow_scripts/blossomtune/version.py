"""Version of this package; code that Flower carries to a node has no other record of it."""

__version__ = "0.1.0"
