"""Checks what was built: the exports of every layer, the resources of the site."""
