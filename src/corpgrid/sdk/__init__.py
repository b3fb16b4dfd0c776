"""The client library: pack a function or a folder, sign it, send it, and read the results back as data."""
