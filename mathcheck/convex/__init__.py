"""Convex analysis: smooth maxima, projections, conjugates."""
