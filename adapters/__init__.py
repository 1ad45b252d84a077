"""The floor of Torii: what a tensor, a backend and an endpoint are. Imports nothing of the gateway."""
