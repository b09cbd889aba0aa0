"""Where untrusted bytes are decoded: a confined process for each image, and how to talk to it."""
