"""`python -m deepest.cli`, where the command `deepest` is not on the path."""

from deepest.cli._app import main

main()
