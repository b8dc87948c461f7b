"""Report on the results: one page and its figures."""
