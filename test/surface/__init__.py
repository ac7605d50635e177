"""The API, musterctl, the console, the chat page, documents and tools."""
