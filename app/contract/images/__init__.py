"""Encoded images: what their headers declare, and their pixels, under bounds."""
