"""Publish-subscribe, components, push, uploads and small services."""
