"""Fill a database with the images of 100 tenants, as large galleries have them, by SQL.

Half of the images are of the tenant `default`. The others share the rest by Zipf's law: of a million, `tenant-1` has
75,000, `tenant-10` 10,000, and `tenant-99` 1,000.

96.5 % of the images have succeeded, 2 % have failed, 0.5 % await their upload, 1 % were deleted, and a few are pending.
A fifth of `default`'s is in one large collection, and a third of all is in other collections, few of them large. Images
come in bursts. Names are those that cameras, phones and people give. 60 % have a description of six words, which are as
unevenly frequent as words are: "harbor" is in a third of all images, "glockenspiel" in one of 100,000. A thumbnail has
3 kB.
"""

from pg8000.native import Connection

LARGE = "00000000-0000-4000-8000-000000000001"
"""The collection with a fifth of the images of `default`."""

BATCH = 50_000  # rows per transaction

TENANTS = """
INSERT INTO tenants (id) SELECT 'tenant-' || n FROM generate_series(1, 99) AS n
"""
COLLECTIONS = """
INSERT INTO collections (uuid, tenant_id, name, created_at, updated_at)
SELECT md5(tenants.id || ' album ' || n)::uuid, tenants.id, 'Album ' || n,
       timestamptz '2024-01-01' + n * interval '9 h', timestamptz '2024-06-01' + n * interval '9 h'
FROM tenants CROSS JOIN LATERAL generate_series(1, CASE WHEN tenants.id = 'default' THEN 1000 ELSE 100 END) AS n
UNION ALL SELECT CAST(:large AS uuid), 'default', 'Large', '2024-01-01', '2026-06-01'
"""
# Real thumbnails are stored outside the row, because they cannot be compressed to 2 kB.
THUMBNAILS = """
CREATE TEMPORARY TABLE thumbnails AS
SELECT number, (SELECT string_agg(sha512(CAST(number || ' ' || part AS bytea)), '')
                FROM generate_series(1, 30 + number % 37) AS part) AS data
FROM generate_series(0, 996) AS number
"""
WORDS = """harbor,dawn,street,rain,family,garden,beach,winter,mountain,old,town,red,light,summer,dog,birthday,snow,
river,market,bridge,forest,city,window,night,tree,train,lake,boat,flower,wedding,church,road,cat,horse,island,sunset,field,
coffee,museum,concert,storm,desert,castle,fog,autumn,meadow,tower,kitchen,library,station,valley,orchard,lantern,ferry,
mosaic,violin,glacier,pottery,lighthouse,carnival,beehive,windmill,cathedral,accordion""".replace("\n", "")
IMAGES = """
WITH numbers AS (
    SELECT n, md5('image ' || n) AS digest, n % 1000 AS part, random() AS chance,
           timestamptz '2024-01-01' + n / 40 * interval '45 min' + n % 40 * interval '0.7 s' AS created,
           CASE WHEN place < 0.5 THEN 'default'
                ELSE 'tenant-' || CAST(floor(power(100, 2 * place - 1)) AS integer) END AS tenant
    FROM generate_series(CAST(:first AS integer), CAST(:last AS integer)) AS n
    CROSS JOIN LATERAL (
        SELECT CAST(CAST('x' || left(md5('burst ' || n / 40), 7) AS bit(28)) AS integer) / power(16, 7) AS place
    ) AS burst
), described AS (
    SELECT numbers.*,
           CASE WHEN part < 965 THEN 'succeeded' WHEN part < 985 THEN 'failed' WHEN part < 990 THEN 'awaiting_upload'
                WHEN part = 999 AND n % 20000 = 19999 THEN 'pending' ELSE 'succeeded' END AS status,
           part >= 990 AND n % 20000 <> 19999 AS deleted,
           CASE n % 20 WHEN 0 THEN 'Screenshot ' || to_char(created, 'YYYY-MM-DD') || ' at ' || n % 86400 || '.png'
                       WHEN 1 THEN 'scan-' || left(digest, 8) || '.tiff'
                       WHEN 2 THEN (string_to_array(:words, ','))[1 + n % 64] || '-' || n % 977 || '.webp'
                       ELSE CASE n / 40 % 3 WHEN 0 THEN 'IMG_' || lpad(CAST(n % 10000 AS text), 4, '0') || '.jpg'
                                            WHEN 1 THEN 'PXL_' || to_char(created, 'YYYYMMDD_HH24MISSMS') || '.jpg'
                                            ELSE 'DSC' || lpad(CAST(n % 100000 AS text), 5, '0') || '.JPG' END
           END AS filename,
           CASE WHEN chance < 0.6 THEN (
               SELECT string_agg((string_to_array(:words, ','))[CAST(floor(power(64, random())) AS integer)], ' ')
               FROM generate_series(1, 6) AS word WHERE word + n > 0)
               || CASE WHEN n % 100000 = 7 THEN ' glockenspiel' ELSE '' END END AS description
    FROM numbers
)
INSERT INTO images (uuid, tenant_id, filename, description, status, created_at, completed_at, content_type, size_bytes,
                    width, height, failure_code, failure_message, thumbnail, thumbnail_type, original_key, sha256,
                    due_at, deleted_at, cleaned_up_at, metadata, perceptual_hash, collection_id, attempts)
SELECT CAST(digest AS uuid), tenant, CASE WHEN deleted THEN '' ELSE filename END,
       CASE WHEN NOT deleted THEN description END, status, created,
       CASE WHEN status IN ('succeeded', 'failed') THEN created + interval '1 s' END,
       CASE WHEN NOT deleted THEN 'image/jpeg' END, CASE WHEN NOT deleted THEN 174351 END,
       CASE WHEN NOT deleted THEN 1600 END, CASE WHEN NOT deleted THEN 1200 END,
       CASE status WHEN 'failed' THEN 'corrupt_image' END,
       CASE status WHEN 'failed' THEN 'The JPEG file is damaged or incomplete.' END,
       CASE WHEN status = 'succeeded' AND NOT deleted THEN thumbnails.data END,
       CASE WHEN status = 'succeeded' AND NOT deleted THEN 'image/jpeg' END,
       CASE WHEN status = 'succeeded' AND NOT deleted THEN
           CASE WHEN tenant <> 'default' THEN 't/' || tenant || '/' ELSE '' END
           || 'originals/' || digest || digest || '.jpg' END,
       CASE WHEN status = 'succeeded' AND NOT deleted THEN digest || digest END,
       CASE WHEN status IN ('awaiting_upload', 'pending') THEN now() + interval '1 day' END,
       CASE WHEN deleted THEN now() END, CASE WHEN deleted THEN now() END,
       CASE WHEN status = 'succeeded' AND NOT deleted THEN
           jsonb_build_object('frames', 1, 'hasAlpha', false, 'colorSpace', 'srgb', 'bitDepth', 8,
                              'cameraMake', 'Canon',
                              'palette', jsonb_build_array(jsonb_build_object('color', '#b5651d', 'share', 0.4),
                                                           jsonb_build_object('color', '#203040', 'share', 0.3)),
                              'thumbHash', left(digest, 24), 'blurHash', left(digest, 28),
                              'perceptualHash', left(digest, 16)) END,
       CASE WHEN status = 'succeeded' AND NOT deleted THEN CAST('x' || left(digest, 16) AS bit(64)) END,
       CASE WHEN deleted OR status = 'awaiting_upload' THEN NULL
            WHEN tenant = 'default' AND n % 5 = 3 THEN CAST(:large AS uuid)
            WHEN n % 3 = 1 THEN CAST(md5(tenant || ' album ' || CAST(floor(power(
                CASE WHEN tenant = 'default' THEN 1000 ELSE 100 END, random())) AS integer)) AS uuid) END, 1
FROM described JOIN thumbnails ON thumbnails.number = n % 997
"""
RENDITIONS = """
INSERT INTO renditions (image_id, tenant_id, name, recipe_hash, key, content_type, width, height, size_bytes)
SELECT uuid, tenant_id, name, md5(name), uuid || '/' || left(sha256, 32) || '/' || md5(name) || '.jpg',
       'image/jpeg', 100, 100, 3121
FROM images CROSS JOIN (VALUES ('thumbnail'), ('web')) AS recipes (name)
WHERE status = 'succeeded' AND deleted_at IS NULL AND (name = 'thumbnail' OR get_byte(uuid_send(uuid), 0) < 50)
"""
ATTEMPTS = """
INSERT INTO processing_attempts (image_id, tenant_id, fence, started_at, ended_at, outcome)
SELECT uuid, tenant_id, 1, created_at, completed_at, status FROM images
WHERE completed_at IS NOT NULL AND deleted_at IS NULL
"""
COUNTS = """
INSERT INTO image_counts (tenant_id, collection_id, status, change)
SELECT tenant_id, coalesce(collection_id, '00000000-0000-0000-0000-000000000000'), status, count(*) FROM images
WHERE deleted_at IS NULL AND status <> 'awaiting_upload'
GROUP BY GROUPING SETS ((tenant_id, status), (tenant_id, status, collection_id))
HAVING GROUPING(collection_id) = 1 OR collection_id IS NOT NULL
"""
# Built at the end, which is much faster than one row at a time.
INDEXES = """
SELECT indexname, indexdef FROM pg_indexes WHERE tablename IN ('images', 'renditions')
AND indexdef NOT LIKE 'CREATE UNIQUE%'
"""


def seed(connection: Connection, images: int) -> None:
    """Fill an empty database."""
    connection.run("SELECT setseed(0.5)")
    connection.run("SET maintenance_work_mem = '512MB'")
    connection.run("ALTER TABLE images DISABLE TRIGGER USER")
    indexes = connection.run(INDEXES)
    for name, _ in indexes:
        connection.run(f"DROP INDEX {name}")
    connection.run(TENANTS)
    connection.run(COLLECTIONS, large=LARGE)
    connection.run(THUMBNAILS)
    for first in range(1, images + 1, BATCH):
        last = min(first + BATCH - 1, images)
        connection.run(IMAGES, first=first, last=last, large=LARGE, words=WORDS)
    connection.run(RENDITIONS)
    connection.run(ATTEMPTS)
    connection.run(COUNTS)
    for _, definition in indexes:
        connection.run(definition)
    connection.run("ALTER TABLE images ENABLE TRIGGER USER")
    connection.run("VACUUM ANALYZE")
