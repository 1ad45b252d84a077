"""The pages: what is served, how experiments stand, and the forms that change it."""

from gateway.control.pages.routes import add_pages

__all__ = ["add_pages"]
