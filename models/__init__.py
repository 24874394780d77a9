"""What the loop decides with: network, training, export, and the exported models in zoo/."""
