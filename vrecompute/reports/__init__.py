"""What a person reads about a run: summary, page, drawings, normalisation."""
