"""From region means to region signals, volume by volume: nuisance regression, despiking, % change, z. Pure."""
