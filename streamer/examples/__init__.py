"""Programs to start from on the stimulus computer: they need pylsl there, and nothing of ours."""
