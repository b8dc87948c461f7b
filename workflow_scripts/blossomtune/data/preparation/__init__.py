"""Preparation of a data set: rename, derive, filter, deduplicate, split and mix rows on disk."""
