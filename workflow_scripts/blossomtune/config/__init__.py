"""Schema of the configuration, its validation, and the part that each stage depends on."""
