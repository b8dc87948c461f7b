"""From the rows of a source to training rows and test rows, worked through on disk."""
