"""Sessions with planted truth: the forward model. Shares no filter and no template with clean."""
