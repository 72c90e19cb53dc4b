"""What a run does beside training, one concern a file."""
