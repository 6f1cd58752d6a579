"""Reads and writes files that others may have damaged: limited sizes, regular files, verified copies."""
