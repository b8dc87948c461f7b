"""Conversion of rows to token ids: row formats, chat template, loss mask and packing."""
