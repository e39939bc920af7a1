"""Drawing from plain values, with matplotlib."""
