"""The agent: the daemon on a device that decides nothing for its owner and carries out the session's word."""
