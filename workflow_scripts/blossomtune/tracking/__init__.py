"""Log the metrics of rounds to trackers."""
