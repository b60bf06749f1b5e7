"""The HTTP interface of the control plane. Every route but the health probes wants a token."""
