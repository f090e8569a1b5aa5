"""Pure functions on tensors, channels last, shared by two or more layers."""
