"""Limits, and what a request may cost."""
