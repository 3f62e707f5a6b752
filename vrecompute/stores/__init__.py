"""Where runs live: immutable named objects, in a folder here or behind SSH."""
