"""The agent: reads machines, notices what is wrong, forwards what it saw and accounts for it."""
