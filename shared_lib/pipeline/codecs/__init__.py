"""What single file formats need beyond what libvips and Pillow do by themselves."""
