"""Downloads. Only this folder runs pip, uv or apt-get."""
