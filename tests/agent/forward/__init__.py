"""The forwarder, by its parts."""
