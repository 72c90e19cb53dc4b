"""Figures: the common style, and one function per figure, which draws tensors or records and writes nothing."""
