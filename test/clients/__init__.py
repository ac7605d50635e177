"""Clients and gateways of other projects."""
