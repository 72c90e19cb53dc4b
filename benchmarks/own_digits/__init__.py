"""Measures the accuracy of `read` on rendered pictures of digits."""
