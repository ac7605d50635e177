"""The end-to-end harness: a server process, raw XML clients, and XML compared canonically."""
