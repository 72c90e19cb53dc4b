"""`read`: recognises the digit in an image file."""

KINDS = "BMP, GIF, JPEG, PNG, PPM, TIFF and WebP"
