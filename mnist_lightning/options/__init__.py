"""What the command line needs beyond the framework: checks of settings, short errors."""
