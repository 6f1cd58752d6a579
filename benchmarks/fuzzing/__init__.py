"""Damaged and hostile input for every decoder: nothing but a ServingError may leave one."""
