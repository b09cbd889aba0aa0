"""Support for single file formats, beyond that of libvips and Pillow."""
