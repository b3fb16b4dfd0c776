"""How values travel between processes: gRPC on local sockets, and a loopback without any."""
