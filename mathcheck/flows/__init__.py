"""Normalizing flows: bijections and the log-determinants of their Jacobians."""
