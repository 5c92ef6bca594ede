"""What a claim is, and how it is checked: residuals, evidence, the search, and the guard around a subject."""
