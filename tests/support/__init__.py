"""Helpers for tests (processes, browsers, kills, damage), and a program: `screenshots`."""
