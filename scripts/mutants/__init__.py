"""Mutation testing: faults planted in attn_core, and whether the tests find them."""
