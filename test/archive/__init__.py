"""Archives: queries, search, retention, quotas."""
