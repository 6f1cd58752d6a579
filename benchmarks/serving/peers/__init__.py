"""Peer servers, one file each. Each runs alone, in its own environment, with this folder on its path."""
