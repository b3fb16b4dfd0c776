"""What a runner knows how to execute, one file each; ``registry`` names them."""
