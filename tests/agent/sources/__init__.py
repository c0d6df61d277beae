"""Sources, over real servers and brokers."""
