"""From an ensemble to what the loop serves: graphs, their check, the card. Imports torch and ``streamer``."""
