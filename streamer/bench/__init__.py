"""Measurements of the streamer on this machine: what ``streamer bench`` prints. May import everything but commands."""
