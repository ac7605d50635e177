"""Messages, presence and rosters (RFC 6121), and the extensions of these."""
