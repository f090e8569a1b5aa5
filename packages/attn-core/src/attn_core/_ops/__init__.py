"""Pure functions on tensors, channels last, which layers share."""
