"""What TensorBoard shows of a run beside its scalars."""
