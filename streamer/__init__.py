"""The real-time engine and its command line.

The signal passes the folders in this order: acquire, align, clean, decode, emit.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("eeg-fmri-streamer")
except PackageNotFoundError:  # run from a checkout that was never installed
    __version__ = "0+unknown"
