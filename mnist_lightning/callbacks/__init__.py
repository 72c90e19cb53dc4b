"""The callbacks of a run, one concern a file."""
