"""Reads and writes files that others may have damaged: bounded sizes, regular files, verified copies."""
