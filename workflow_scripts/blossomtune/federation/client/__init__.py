"""Train and evaluate on a client."""
