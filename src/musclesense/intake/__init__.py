"""From a path that somebody gives to a scan: images are known by their names and by what lies beside them."""
