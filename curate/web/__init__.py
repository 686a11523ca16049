"""URLs and HTTP headers, read as their standards say: used by whatever fetches, compares, counts or captions."""
