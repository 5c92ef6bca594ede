"""Distributions: families, densities, samplers, quantiles."""
