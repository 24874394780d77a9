"""What a model's decisions rest on, and the checks that a map must pass before it is shown. Imports ``models``."""
