"""Small recordings that ship with the project, each with its provenance."""
