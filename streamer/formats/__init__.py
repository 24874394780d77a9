"""Pure reading and writing of file formats: DICOM, NIfTI, XDF, BrainVision, recordings.

May import ring, contracts, messages.
"""
