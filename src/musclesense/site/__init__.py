"""The page without a server: a folder that any web server gives out, in which the browser computes."""
