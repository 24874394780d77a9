"""The heart: R peaks found online, and the pulse artefact that follows them."""
