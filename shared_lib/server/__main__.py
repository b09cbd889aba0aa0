"""`python -m shared_lib.server`: what a function's container runs."""

from shared_lib.server import create_app, run

run(create_app())
