"""One clock: gaps and stamps of the EEG, triggers to samples, volumes to triggers, windows.

Pure: no clock, no files, no threads. May import ring, contracts, messages; no other station.
"""
