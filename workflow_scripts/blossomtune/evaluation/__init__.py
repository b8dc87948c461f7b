"""What a model is worth: metrics on rows that no client has seen."""
