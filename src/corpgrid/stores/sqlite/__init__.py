"""The store on SQLite: one writer, many readers, every tick one durable transaction."""
