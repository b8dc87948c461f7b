"""Readers of data sources: registries, the hub, URLs, local files and their formats."""
