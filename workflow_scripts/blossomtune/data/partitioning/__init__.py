"""Assignment of training rows to clients."""
