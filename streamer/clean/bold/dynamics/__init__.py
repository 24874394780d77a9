"""What region signals do together and over time, volume by volume: connectivity, slow fluctuations. Pure."""
