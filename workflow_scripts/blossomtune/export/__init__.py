"""Export of merged models and their model cards."""
