"""Parts of the fusion network: branches, heads, what training drops, ensemble. Imports torch and ``streamer``."""
