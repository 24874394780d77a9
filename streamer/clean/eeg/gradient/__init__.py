"""The gradient artefact: aligned templates, what is left of it, and whose clock it runs by."""
