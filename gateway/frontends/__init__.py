"""Those who answer requests: one in the control plane's own process, or several processes on the same ports."""
