"""The BOLD lane: motion, region means, signal change, volume by volume."""
