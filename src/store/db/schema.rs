//! The tables, as of schema version 1.

/// The version that this program reads and writes (`PRAGMA user_version`).
pub(in crate::store) const VERSION: i64 = 1;

/// All of them are WITHOUT ROWID: one B-tree a table, found by its own key.
pub(in crate::store) const CREATE: &str = "
CREATE TABLE images (
    id        TEXT PRIMARY KEY,          -- digest of the configuration
    platform  TEXT NOT NULL,
    created   INTEGER,                   -- ms since the epoch, as the image says
    size      INTEGER NOT NULL,          -- bytes unpacked
    labels    TEXT NOT NULL,             -- JSON object
    added     INTEGER NOT NULL           -- ms since the epoch
) WITHOUT ROWID;

CREATE TABLE manifests (
    digest     TEXT PRIMARY KEY,
    image      TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE,
    media_type TEXT NOT NULL,
    added      INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX manifests_by_image ON manifests (image);

CREATE TABLE image_layers (
    manifest   TEXT NOT NULL REFERENCES manifests (digest) ON DELETE CASCADE,
    position   INTEGER NOT NULL,         -- 0 is the lowest
    diff_id    TEXT NOT NULL REFERENCES layers (diff_id),
    blob       TEXT NOT NULL,
    size       INTEGER NOT NULL,         -- bytes of the blob
    media_type TEXT NOT NULL,
    PRIMARY KEY (manifest, position)
) WITHOUT ROWID;
CREATE INDEX image_layers_by_layer ON image_layers (diff_id);
CREATE INDEX image_layers_by_blob ON image_layers (blob);

CREATE TABLE layers (
    diff_id   TEXT PRIMARY KEY,
    bytes     INTEGER NOT NULL,          -- of the files
    entries   INTEGER NOT NULL,
    boot      TEXT                       -- not known to be on disk after that boot; NULL once it is
) WITHOUT ROWID;

CREATE TABLE tags (
    reference TEXT PRIMARY KEY,          -- registry/repository:tag
    manifest  TEXT NOT NULL REFERENCES manifests (digest) ON DELETE CASCADE,
    target    TEXT                       -- what the registry says the tag means
) WITHOUT ROWID;
CREATE INDEX tags_by_manifest ON tags (manifest);

CREATE TABLE digests (
    name      TEXT NOT NULL,             -- registry/repository
    digest    TEXT NOT NULL,             -- of an index or a manifest
    manifest  TEXT NOT NULL REFERENCES manifests (digest) ON DELETE CASCADE,
    PRIMARY KEY (name, digest)
) WITHOUT ROWID;
CREATE INDEX digests_by_manifest ON digests (manifest);

CREATE TABLE containers (
    id          TEXT PRIMARY KEY,
    name        TEXT NOT NULL UNIQUE,
    image       TEXT NOT NULL,           -- of images; an image forced away may be gone
    manifest    TEXT NOT NULL,
    created     INTEGER NOT NULL,        -- ms since the epoch
    auto_remove INTEGER NOT NULL,
    lifecycle   TEXT NOT NULL,           -- JSON
    request     TEXT NOT NULL            -- JSON
) WITHOUT ROWID;

CREATE TABLE leases (
    id      TEXT PRIMARY KEY,
    boot    TEXT NOT NULL,
    expires INTEGER NOT NULL             -- seconds since that boot
) WITHOUT ROWID;

CREATE TABLE lease_objects (
    lease   TEXT NOT NULL REFERENCES leases (id) ON DELETE CASCADE,
    digest  TEXT NOT NULL,               -- of a blob, or a diffID
    PRIMARY KEY (lease, digest)
) WITHOUT ROWID;
CREATE INDEX lease_objects_by_digest ON lease_objects (digest);
";
