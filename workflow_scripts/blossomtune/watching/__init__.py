"""Show the progress of a run in a browser."""
