"""`python -m shared_lib.server`: the command of a function's container."""

import gc

gc.disable()  # until `run`. It would take a tenth of the start, and what is being loaded stays

from shared_lib.server import serve_function  # noqa: E402  not before the line above

serve_function()
