"""Typed models of the files that stages exchange."""
