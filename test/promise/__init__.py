"""Promises of acknowledged stanzas, and faults: kills, full disks, lost databases."""
