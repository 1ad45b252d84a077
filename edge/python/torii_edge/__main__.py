"""`python -m torii_edge`: the same as `torii-edge`."""

from torii_edge.command import main

main()
