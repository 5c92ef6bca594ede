"""Variational inference: gradient estimators and lower bounds on the evidence."""
