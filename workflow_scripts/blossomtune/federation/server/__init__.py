"""Run a federation on the server."""
