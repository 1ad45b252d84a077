"""The gateway: protocols in, routing, forwarding, and the control plane that keeps deployments alive."""
