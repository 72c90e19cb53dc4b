"""`demo`: a page to draw on, on this machine."""
