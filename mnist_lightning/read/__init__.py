"""`read`: recognises the digit in an image file."""
