"""Tests: unit (pure), parity (live = replay, chunking), system (real LSL, broker, DICOM, window)."""
