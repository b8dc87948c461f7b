"""Rows as conversations, and conversations as token ids."""
