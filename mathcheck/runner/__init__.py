"""What there is to verify, and running it: the catalogue, the proofs, tasks in processes, the self-test."""
