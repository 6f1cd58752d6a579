"""Devices and backends: what runs a batch, and how long it takes."""
