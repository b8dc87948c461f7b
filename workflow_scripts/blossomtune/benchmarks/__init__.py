"""Benchmarks of lm-evaluation-harness: tasks, scores per model, and their comparison."""
