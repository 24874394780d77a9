"""Numbers that are computed for panels: numpy and scipy, no Qt, no clock."""
