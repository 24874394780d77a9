"""The EEG lane: from 5 kHz in the scanner to clean EEG at 250 Hz, causal but for declared holds."""
