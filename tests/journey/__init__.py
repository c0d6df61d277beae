"""From the machines to the board: the real parts together."""
