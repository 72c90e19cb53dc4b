"""Measures training speed relative to a plain script of the same recipe, in one run on one machine."""
