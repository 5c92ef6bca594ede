"""The notes' experiments, reproduced: one module for each, found by walking this folder."""
