"""Several configs over several seeds: who runs them, and what they say together."""
