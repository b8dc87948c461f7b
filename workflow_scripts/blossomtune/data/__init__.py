"""Data preparation: sources, data sets, client partitions and token ids."""
