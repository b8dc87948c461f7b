"""Aggregation of low-rank adapters: one file per method, on named tensors."""
