"""Load tests: black box, knows the network only."""
