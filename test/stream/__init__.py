"""Streams and logins: transports, SASL, XEP-0198, and what is negotiated there."""
