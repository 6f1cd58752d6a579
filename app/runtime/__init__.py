"""Devices and backends: they run batches and measure their latency."""
