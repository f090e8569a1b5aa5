"""What a release needs: versions, addresses, and the documentation of each version."""
