"""Where data comes in: LSL inlets, the scanner's export directory, recordings.

May import formats, runlog and everything below; no other station.
"""
