"""Right code as people write it, textbook forms with the digits that they lose: no verdict on it may be a failure."""
