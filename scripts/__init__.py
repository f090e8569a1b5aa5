"""Programs of this repository, run from its root: `python -m scripts.<room>.<program>`."""
