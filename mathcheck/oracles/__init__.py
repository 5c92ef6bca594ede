"""Answers found another way: each oracle says how sure it is, and none of them knows a derivation."""
