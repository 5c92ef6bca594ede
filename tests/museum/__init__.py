"""Known slips from public history, each re-implemented as people write it, beside its correct twin."""
