"""The HTTP interface of the control plane. Every route but the health check wants a token."""
