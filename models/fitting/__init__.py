"""Fits the network: the loop, its resuming, its members, its temperatures. Imports torch and ``models/network``."""
