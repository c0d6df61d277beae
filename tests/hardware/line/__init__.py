"""Tests of the simulated line and the player of recordings."""
