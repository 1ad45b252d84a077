"""A/B testing of deployments: what an experiment is, who gets what, what was seen, and what that means."""
