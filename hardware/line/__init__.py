"""The simulated line and the player of recordings, as another company's machines would be."""
