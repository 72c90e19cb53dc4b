"""Helpers for tests (processes, browsers, kills, damage), and two programs: `soak` and `screenshots`."""
