"""Plays a recording out as a scanner room would: LSL outlets and files dropping into a directory."""
