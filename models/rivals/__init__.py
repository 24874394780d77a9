"""Simple rivals of the network: what a learned fusion has to beat. ``models.baselines`` lists them."""
