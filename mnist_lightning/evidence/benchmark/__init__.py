"""How fast training is, as ratios to a plain script of the same recipe, in one run on one machine."""
