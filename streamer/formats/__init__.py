"""Pure reading and writing of file formats: DICOM, NIfTI, XDF, BrainVision, recordings; electrode positions.

May import ring, contracts, messages.
"""
