"""Scores that can be trusted: splits without leaks, intervals over blocks, chance, rivals."""
