"""Sets of photographs: files of any number and size that are read when needed."""
