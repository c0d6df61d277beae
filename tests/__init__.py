"""The tests, beside the code they mirror."""
