"""A first site file: from what the batch system and its administrator say, or from dask-jobqueue's configuration."""
