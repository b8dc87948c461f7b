"""Scores, metrics with intervals, and comparison of models on the held-out rows."""
