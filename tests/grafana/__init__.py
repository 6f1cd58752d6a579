"""The dashboards against Grafana's own types."""
