"""Digits from anybody's photos, scans and drawings: found, brought to MNIST's form, and read."""
