-- The tables of the first release for SQLite. Times end in `_us` and are microseconds UTC.

-- Facts about the store, such as its id, which cameras pin.
CREATE TABLE store_meta (
    name VARCHAR(64) NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
);

-- Numbers that are given out within a commit and never again, such as `arrival`.
CREATE TABLE counter (
    name VARCHAR(64) NOT NULL PRIMARY KEY,
    last BIGINT NOT NULL
);

-- Cameras. `status` is the last complete up/status as JSON; a last will only changes `online`. `pictures` is the
-- number of stored pictures, because counting them takes longer the more there are.
CREATE TABLE device (
    id VARCHAR(64) NOT NULL PRIMARY KEY,
    first_seen_us BIGINT NOT NULL,
    last_seen_us BIGINT NOT NULL,
    online SMALLINT NOT NULL,
    status TEXT,
    status_us BIGINT,
    pictures BIGINT NOT NULL DEFAULT 0
);

-- Spools and their counters, which change in the transaction that changes what they count: `sequences` with any fate,
-- and the number of fates of each kind (a conflict has two fates for one sequence). `uploads`: created by the cloud,
-- without a card.
CREATE TABLE spool (
    spool BLOB NOT NULL PRIMARY KEY,
    device VARCHAR(64) NOT NULL,
    uploads SMALLINT NOT NULL,
    next BIGINT NOT NULL,
    next_us BIGINT NOT NULL,
    sequences BIGINT NOT NULL,
    failed BIGINT NOT NULL,
    pictures BIGINT NOT NULL,
    deleted BIGINT NOT NULL
);
CREATE INDEX spool_device ON spool (device);

-- What a camera last reported to be on its card, for each spool. `card` is the current spool of that card: after a
-- card was copied, two cards can report the same spool.
CREATE TABLE inventory (
    device VARCHAR(64) NOT NULL,
    card BLOB NOT NULL,
    spool BLOB NOT NULL,
    next BIGINT NOT NULL,
    waiting TEXT NOT NULL,
    retained TEXT NOT NULL,
    coarse SMALLINT NOT NULL,
    at_us BIGINT NOT NULL,
    PRIMARY KEY (device, card, spool)
);
CREATE INDEX inventory_spool ON inventory (spool);
CREATE INDEX inventory_card ON inventory (card);

-- The fate of each capture: 1 tombstone, 2 stored, 3 deleted. A fate only rises, and rows are never deleted, except
-- that a tombstone's row is replaced when its picture arrives after all (table `tombstone` keeps the tombstone).
CREATE TABLE fate (
    spool BLOB NOT NULL,
    sequence BIGINT NOT NULL,
    hash BLOB NOT NULL,
    fate SMALLINT NOT NULL,
    PRIMARY KEY (spool, sequence, hash)
) WITHOUT ROWID;

-- Stored pictures without their bytes, so that no list reads bytes. thumbnail: 0 pending, 1 ready, 2 none.
-- `not_before_us`: the camera knew that the capture is not older. `sort_us`: the best estimate of the capture time, which
-- is the order of lists. All pictures of one boot have the same difference to `pressed_boottime_us`, so that they stay in
-- the order of their sequences. `place` and `object`: where the bytes are; place 0 is table `picture_bytes`. A new object
-- sorts after the older ones, so its index grows at its end.
CREATE TABLE picture (
    arrival BIGINT NOT NULL PRIMARY KEY,
    spool BLOB NOT NULL,
    sequence BIGINT NOT NULL,
    hash BLOB NOT NULL,
    device VARCHAR(64) NOT NULL,
    bytes BIGINT NOT NULL,
    content_type VARCHAR(32) NOT NULL,
    width BIGINT NOT NULL,
    height BIGINT NOT NULL,
    cause VARCHAR(16) NOT NULL,
    command VARCHAR(64),
    pressed_boot BLOB NOT NULL,
    pressed_boottime_us BIGINT NOT NULL,
    pressed_wall_us BIGINT NOT NULL,
    pressed_synchronised SMALLINT NOT NULL,
    pressed_error_us BIGINT NOT NULL,
    captured_after_us BIGINT NOT NULL,
    saved_after_us BIGINT,
    sent_after_us BIGINT,
    attempt BIGINT NOT NULL,
    settings_version BIGINT NOT NULL,
    stored_us BIGINT NOT NULL,
    sort_us BIGINT NOT NULL,
    conflict SMALLINT NOT NULL,
    damaged SMALLINT NOT NULL,
    thumbnail SMALLINT NOT NULL,
    thumbnail_attempts BIGINT NOT NULL,
    color BIGINT,
    not_before_us BIGINT,
    place BIGINT NOT NULL DEFAULT 0,
    object VARCHAR(128)
);
CREATE UNIQUE INDEX picture_capture ON picture (spool, sequence, hash);
CREATE UNIQUE INDEX picture_object ON picture (object, place);
CREATE INDEX picture_sorted ON picture (sort_us, arrival);
CREATE INDEX picture_device_sorted ON picture (device, sort_us, arrival);
CREATE INDEX picture_boot ON picture (device, pressed_boot, pressed_synchronised, arrival);
CREATE INDEX picture_thumbnail ON picture (thumbnail, arrival);
CREATE INDEX picture_conflict ON picture (device, conflict);
CREATE INDEX picture_damaged ON picture (device, damaged);

-- The bytes of pictures in place 0, exactly as the camera sent them.
CREATE TABLE picture_bytes (
    arrival BIGINT NOT NULL PRIMARY KEY,
    bytes BLOB NOT NULL
);

-- The places outside the database that have ever held bytes of pictures, by their last address.
CREATE TABLE bytes_place (
    id BIGINT NOT NULL PRIMARY KEY,
    url VARCHAR(512) NOT NULL
);

-- Objects that no row names any more. They are deleted once `due_us` has passed, and their row here after them.
CREATE TABLE garbage (
    place BIGINT NOT NULL,
    object VARCHAR(128) NOT NULL,
    due_us BIGINT NOT NULL,
    PRIMARY KEY (place, object)
);
CREATE INDEX garbage_due ON garbage (due_us);

-- Thumbnails, JPEG.
CREATE TABLE thumbnail (
    arrival BIGINT NOT NULL PRIMARY KEY,
    bytes BLOB NOT NULL
);

-- The reasons why captures have no picture. `payload` is the camera's JSON, over which the hash is computed.
CREATE TABLE tombstone (
    spool BLOB NOT NULL,
    sequence BIGINT NOT NULL,
    hash BLOB NOT NULL,
    through BIGINT NOT NULL,
    device VARCHAR(64) NOT NULL,
    reason VARCHAR(32) NOT NULL,
    payload BLOB NOT NULL,
    at_us BIGINT NOT NULL,
    PRIMARY KEY (spool, sequence, hash)
);
CREATE INDEX tombstone_listed ON tombstone (device, at_us, sequence);

-- Clock offsets of boots, which correct the capture times of that boot whenever they are read.
CREATE TABLE boot_clock (
    boot BLOB NOT NULL,
    device VARCHAR(64) NOT NULL,
    hash BLOB NOT NULL,
    offset_us BIGINT NOT NULL,
    error_us BIGINT NOT NULL,
    measured_us BIGINT,
    estimated SMALLINT NOT NULL,
    received_us BIGINT NOT NULL,
    PRIMARY KEY (boot, device, hash)
);
CREATE INDEX boot_clock_device ON boot_clock (device, received_us);

-- Faults and boot clock offsets as cameras sent them; limited for each camera, the oldest are deleted first.
CREATE TABLE event (
    device VARCHAR(64) NOT NULL,
    hash BLOB NOT NULL,
    kind VARCHAR(16) NOT NULL,
    payload BLOB NOT NULL,
    at_us BIGINT NOT NULL,
    PRIMARY KEY (device, hash)
);
CREATE INDEX event_device ON event (device, at_us);

-- Hashes of pictures that third-party cameras sent within a day. The same message delivered again is a repeat, even if
-- its picture was deleted in the meantime.
CREATE TABLE upload_dedup (
    device VARCHAR(64) NOT NULL,
    hash BLOB NOT NULL,
    seen_us BIGINT NOT NULL,
    PRIMARY KEY (device, hash)
) WITHOUT ROWID;
CREATE INDEX upload_dedup_seen ON upload_dedup (device, seen_us);

-- Commands to cameras, and the capture that a snap produced.
CREATE TABLE command (
    id VARCHAR(64) NOT NULL PRIMARY KEY,
    device VARCHAR(64) NOT NULL,
    command VARCHAR(16) NOT NULL,
    created_us BIGINT NOT NULL,
    expires_us BIGINT NOT NULL,
    sent_us BIGINT,
    spool BLOB,
    sequence BIGINT
);
CREATE INDEX command_listed ON command (device, created_us, id);

-- The stages that a camera reported for a command.
CREATE TABLE command_stage (
    command VARCHAR(64) NOT NULL,
    stage VARCHAR(16) NOT NULL,
    at_us BIGINT NOT NULL,
    after_us BIGINT,
    text TEXT,
    PRIMARY KEY (command, stage)
);

-- Results of commands, as JSON.
CREATE TABLE command_result (
    command VARCHAR(64) NOT NULL PRIMARY KEY,
    result TEXT NOT NULL
);

-- All versions of a camera's desired settings, complete, as JSON. The highest version counts.
CREATE TABLE device_settings (
    device VARCHAR(64) NOT NULL,
    version BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    desired TEXT NOT NULL,
    changed_us BIGINT NOT NULL,
    PRIMARY KEY (device, version)
);

-- Messages that could not be stored, with the reason and their first bytes. `device` is empty if the topic names none.
CREATE TABLE quarantine (
    device VARCHAR(64) NOT NULL,
    hash BLOB NOT NULL,
    topic VARCHAR(512) NOT NULL,
    reason VARCHAR(512) NOT NULL,
    size BIGINT NOT NULL,
    stored_bytes BIGINT NOT NULL,
    times BIGINT NOT NULL,
    first_us BIGINT NOT NULL,
    last_us BIGINT NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (device, hash)
);
CREATE INDEX quarantine_last ON quarantine (last_us);

-- Users. `name_key` is the name in lower case, as bytes, so that every database compares it in the same way. Without a
-- password the user has been invited.
CREATE TABLE user_account (
    id BLOB NOT NULL PRIMARY KEY,
    name VARCHAR(64) NOT NULL,
    name_key BLOB NOT NULL UNIQUE,
    role VARCHAR(16) NOT NULL,
    password VARCHAR(255),
    created_us BIGINT NOT NULL,
    seen_us BIGINT
);

-- Links to choose a password; they work once.
CREATE TABLE invitation (
    user_id BLOB NOT NULL PRIMARY KEY,
    token_hash BLOB NOT NULL UNIQUE,
    expires_us BIGINT NOT NULL
);

-- Browser sessions, with the SHA-256 of the cookie.
CREATE TABLE session (
    token_hash BLOB NOT NULL PRIMARY KEY,
    user_id BLOB NOT NULL,
    created_us BIGINT NOT NULL,
    used_us BIGINT NOT NULL,
    address VARCHAR(64) NOT NULL,
    agent VARCHAR(255) NOT NULL
);
CREATE INDEX session_user_id ON session (user_id, used_us);

-- API tokens of programs (`role` is a role) and of cameras (`role` is 'camera', with its `device`), with the SHA-256
-- of each.
CREATE TABLE api_token (
    id BLOB NOT NULL PRIMARY KEY,
    name VARCHAR(64) NOT NULL,
    token_hash BLOB NOT NULL UNIQUE,
    role VARCHAR(16) NOT NULL,
    device VARCHAR(64),
    created_us BIGINT NOT NULL,
    used_us BIGINT
);
