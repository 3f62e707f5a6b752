"""What a user names as input: samples and sources, and the columns of their events."""
