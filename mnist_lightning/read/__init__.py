"""`read`: the digits in pictures of any kind."""
