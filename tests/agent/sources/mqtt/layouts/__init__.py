"""Learned layouts."""
