"""The command line: nouns and verbs, talking through the SDK and printing through one renderer."""
