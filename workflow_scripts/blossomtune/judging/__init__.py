"""Pairwise comparison of generated answers by a judge model."""
