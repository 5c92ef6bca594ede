"""The notes' models as small modules, built from the pieces that are verified."""
