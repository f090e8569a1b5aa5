"""Gathers the pages of the documentation, those made from the code among them."""
