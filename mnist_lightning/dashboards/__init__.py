"""What TensorBoard shows of a run: one callback for each subject; all.py lists them."""
