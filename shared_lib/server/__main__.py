"""`python -m shared_lib.server`: the command of a function's container."""

from shared_lib.server import serve_function

serve_function()
