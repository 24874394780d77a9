"""The verbs of models/."""
