"""The only room that names concrete adapters: it builds each daemon from its configuration, and runs it."""
