"""Sources of other machines, as `ByteSource`: https, root and s3; found by the `vrecompute.sources` entry points."""
