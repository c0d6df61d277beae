"""Live: what every line is doing now, in memory, and the stream of what changes."""
