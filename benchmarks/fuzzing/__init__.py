"""Damaged and hostile input for every decoder, which may only raise a ServingError."""
