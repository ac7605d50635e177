"""Settings, certificates, alarms, backups, imports and other work of operators."""
