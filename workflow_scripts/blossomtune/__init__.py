"""BlossomTune: the library that the steps of the workflow share. It knows nothing of Snakemake."""
