"""Parts of the sample generator: truth (`physics`), response (`detector`), files (`layout`, `rootfile`)."""
