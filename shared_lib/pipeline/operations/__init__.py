"""The operations that recipes are made of: each one's parameters, limits and effect stand together in one class.

To add one, define its class in one of these modules. Its kind, API description and effect follow from that.
"""

from shared_lib.pipeline.operations import detail, geometry, resize, shape, text, tone, watermark
from shared_lib.pipeline.operations.operation import OPERATIONS, Context, Operation

__all__ = ["OPERATIONS", "Context", "Operation", "detail", "geometry", "resize", "shape", "text", "tone", "watermark"]
