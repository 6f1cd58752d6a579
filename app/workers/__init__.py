"""Several worker processes behind one port: what each does, and what the supervisor does for all of them."""
