"""Exact and near duplicates between held-out rows and training rows, and among training rows."""
