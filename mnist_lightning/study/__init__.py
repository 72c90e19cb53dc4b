"""Several configs with several seeds each: how they run, and their table."""
