"""Differential privacy of clients: clipping, noise and accounting."""
