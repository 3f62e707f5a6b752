"""What lives in or beside a Dask worker: its walltime, how it leaves, how it died."""
