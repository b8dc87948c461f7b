"""Training rows cut into clients."""
