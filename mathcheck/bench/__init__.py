"""Timing kernels, and how exact they are; what is timed stands in `kernels`."""
