"""The report of a session: what was run, on which data, what was fed back, and how well that went."""
