"""What travels between processes, as bytes: protobuf, the data codec, and the frames of the runner's pipes."""
