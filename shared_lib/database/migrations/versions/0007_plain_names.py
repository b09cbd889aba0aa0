"""Tables, columns and indexes get the names that the code uses."""

from alembic import op

revision = "0007"
down_revision = "0006"

UPGRADE = """
ALTER TABLE rendition_orders RENAME TO rendition_requests;
ALTER TABLE rendition_requests RENAME COLUMN refused_at TO failed_at;
ALTER TABLE rendition_requests RENAME COLUMN refusals TO failures;
ALTER TABLE rendition_requests RENAME CONSTRAINT rendition_orders_pkey TO rendition_requests_pkey;
ALTER TABLE rendition_requests RENAME CONSTRAINT rendition_orders_image_id_fkey TO rendition_requests_image_id_fkey;
ALTER TABLE rendition_requests RENAME CONSTRAINT rendition_orders_check TO rendition_requests_check;
ALTER INDEX rendition_orders_refused RENAME TO rendition_requests_failed;

ALTER TABLE images RENAME COLUMN knowledge TO metadata;
ALTER TABLE images RENAME COLUMN preview TO thumbnail;
ALTER TABLE images RENAME COLUMN preview_type TO thumbnail_type;
ALTER TABLE images RENAME COLUMN swept_at TO cleaned_up_at;
ALTER INDEX images_unswept RENAME TO images_pending_cleanup;
ALTER INDEX images_swept RENAME TO images_cleaned_up;
ALTER INDEX images_alike RENAME TO images_similar;
"""

DOWNGRADE = """
ALTER INDEX images_similar RENAME TO images_alike;
ALTER INDEX images_cleaned_up RENAME TO images_swept;
ALTER INDEX images_pending_cleanup RENAME TO images_unswept;
ALTER TABLE images RENAME COLUMN cleaned_up_at TO swept_at;
ALTER TABLE images RENAME COLUMN thumbnail_type TO preview_type;
ALTER TABLE images RENAME COLUMN thumbnail TO preview;
ALTER TABLE images RENAME COLUMN metadata TO knowledge;

ALTER INDEX rendition_requests_failed RENAME TO rendition_orders_refused;
ALTER TABLE rendition_requests RENAME CONSTRAINT rendition_requests_check TO rendition_orders_check;
ALTER TABLE rendition_requests RENAME CONSTRAINT rendition_requests_image_id_fkey TO rendition_orders_image_id_fkey;
ALTER TABLE rendition_requests RENAME CONSTRAINT rendition_requests_pkey TO rendition_orders_pkey;
ALTER TABLE rendition_requests RENAME COLUMN failures TO refusals;
ALTER TABLE rendition_requests RENAME COLUMN failed_at TO refused_at;
ALTER TABLE rendition_requests RENAME TO rendition_orders;
"""


def upgrade() -> None:
    op.execute(UPGRADE)


def downgrade() -> None:
    op.execute(DOWNGRADE)
