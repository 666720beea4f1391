"""A local page: paint over damage, see it filled, keep the file."""
