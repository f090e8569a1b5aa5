"""Writes the skeleton of a new mechanism."""
