"""Where a federation runs, and the container image that it runs in."""
