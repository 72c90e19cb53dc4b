"""For maintainers, not in the wheel: how the figures in the README and docs are measured and written."""
