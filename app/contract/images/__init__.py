"""Encoded images: the declarations in their headers, and their pixels, within limits."""
