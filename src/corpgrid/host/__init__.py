"""What the operating system says and does: one adapter a file, each behind a port."""
