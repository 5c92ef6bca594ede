"""Linear maps and their adjoints: pooling, upsampling, permutations, convolutions."""
