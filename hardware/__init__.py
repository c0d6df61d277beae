"""The plant side: simulated and recorded machines, gateway profiles, installation."""
