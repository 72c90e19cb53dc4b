"""Figures: the common style, and one function per figure, from tensors to a matplotlib Figure."""
