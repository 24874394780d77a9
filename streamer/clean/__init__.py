"""Cleaning, one lane per modality. Pure stages; may import ring, contracts, messages; no other station."""
