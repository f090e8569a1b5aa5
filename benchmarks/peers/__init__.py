"""The layers against what a user could install instead: `nox -s bench -- peers`."""
