"""Downloads: the only place that starts pip, uv or apt-get."""
