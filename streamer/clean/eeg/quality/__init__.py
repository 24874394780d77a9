"""How clean the cleaned EEG is, while it is cleaned."""
