"""Recorded requests, and the right answers that clients sent later: the service writes them, training reads them."""
