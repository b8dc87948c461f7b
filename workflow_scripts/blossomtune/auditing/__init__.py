"""Checks of a federation's results against the audit log of its server."""
