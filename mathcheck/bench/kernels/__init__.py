"""What is timed: one module for each kernel, with everybody who computes it."""
