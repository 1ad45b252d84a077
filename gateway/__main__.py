"""`python -m gateway` is `torii`."""

from gateway.cli import app

if __name__ == "__main__":
    app()
