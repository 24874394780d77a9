"""Faults, injected into the real thing: what the user sees, what is lost, how long until all is well.

``make faults`` runs them all and writes ``table.md``.
"""
