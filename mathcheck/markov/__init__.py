"""Markov chains: what their kernels must satisfy, how they contract divergences, and Hamiltonian Monte Carlo."""
