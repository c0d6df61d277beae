"""Certificates and whom to trust."""
