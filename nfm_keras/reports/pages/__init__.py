"""Pages of one subject each, besides those of runs and of comparisons."""
