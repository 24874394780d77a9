"""The parts of the operator's window; each takes what it shows from the board and draws once per frame."""
