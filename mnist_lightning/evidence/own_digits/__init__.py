"""How well `read` does, on pictures that are drawn for it."""
