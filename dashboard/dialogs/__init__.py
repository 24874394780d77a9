"""Dialogs: none of them keeps the window from drawing, nor the operator from stopping triggers."""
