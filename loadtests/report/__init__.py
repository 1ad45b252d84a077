"""`report`: results as one HTML file that needs no internet, as pictures, and as Markdown."""
