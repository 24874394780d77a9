"""Channels: which are bad and why, what they are referred to, and how bad ones are shown."""
