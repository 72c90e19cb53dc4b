"""TensorBoard dashboards of a run: one callback per subject; all.py lists them."""
