"""What every request passes on its way in: addresses, TLS, API keys, other sites' pages, its id, the access log."""
