"""Measures the figures in the README and the docs; for maintainers, not in the wheel."""
