"""How a run is carried out: from its manifest to its outcome, on any Dask cluster."""
