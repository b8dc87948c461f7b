"""Run federations on the engines of the configuration."""
