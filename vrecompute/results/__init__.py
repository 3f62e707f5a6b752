"""What comes back: the Result of a chunk, the sums of all, and the file that holds them."""
