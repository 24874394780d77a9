"""How things look: colours, frames, and pictures made of arrays."""
