"""Writes the tables that are kept in README.md and docs/."""
