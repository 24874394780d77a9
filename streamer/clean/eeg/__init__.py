"""The EEG lane: gradient artefact, decimation, filters, reference, sample by sample and causal."""
