-- The tables of the first release for MySQL and MariaDB. Times end in `_us` and are microseconds UTC.
-- A server commits every table at once, so a start that dies halfway is repeated: each statement can run twice.

-- Facts about the store, such as its id, which cameras pin.
CREATE TABLE IF NOT EXISTS store_meta (
    name VARCHAR(64) NOT NULL PRIMARY KEY,
    value VARBINARY(1024) NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
  COLLATE=/*!50700 utf8mb4_0900_bin *//*M!100600 utf8mb4_nopad_bin */;

-- Numbers that are given out within a commit and never again, such as `arrival`.
CREATE TABLE IF NOT EXISTS counter (
    name VARCHAR(64) NOT NULL PRIMARY KEY,
    last BIGINT NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
  COLLATE=/*!50700 utf8mb4_0900_bin *//*M!100600 utf8mb4_nopad_bin */;

-- Cameras. `status` is the last complete up/status as JSON; a last will only changes `online`. `pictures` is the
-- number of stored pictures, because counting them takes longer the more there are.
CREATE TABLE IF NOT EXISTS device (
    id VARCHAR(64) NOT NULL PRIMARY KEY,
    first_seen_us BIGINT NOT NULL,
    last_seen_us BIGINT NOT NULL,
    online SMALLINT NOT NULL,
    status MEDIUMTEXT,
    status_us BIGINT,
    pictures BIGINT NOT NULL DEFAULT 0
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
  COLLATE=/*!50700 utf8mb4_0900_bin *//*M!100600 utf8mb4_nopad_bin */;

-- Spools and their counters, which change in the transaction that changes what they count: `sequences` with any fate,
-- and the number of fates of each kind (a conflict has two fates for one sequence). `uploads`: created by the cloud,
-- without a card.
CREATE TABLE IF NOT EXISTS spool (
    spool VARBINARY(16) NOT NULL PRIMARY KEY,
    device VARCHAR(64) NOT NULL,
    uploads SMALLINT NOT NULL,
    next BIGINT NOT NULL,
    next_us BIGINT NOT NULL,
    sequences BIGINT NOT NULL,
    failed BIGINT NOT NULL,
    pictures BIGINT NOT NULL,
    deleted BIGINT NOT NULL,
    KEY spool_device (device)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
  COLLATE=/*!50700 utf8mb4_0900_bin *//*M!100600 utf8mb4_nopad_bin */;

-- What a camera last reported to be on its card, for each spool. `card` is the current spool of that card: after a
-- card was copied, two cards can report the same spool.
CREATE TABLE IF NOT EXISTS inventory (
    device VARCHAR(64) NOT NULL,
    card VARBINARY(16) NOT NULL,
    spool VARBINARY(16) NOT NULL,
    next BIGINT NOT NULL,
    waiting MEDIUMTEXT NOT NULL,
    retained MEDIUMTEXT NOT NULL,
    coarse SMALLINT NOT NULL,
    at_us BIGINT NOT NULL,
    PRIMARY KEY (device, card, spool),
    KEY inventory_spool (spool),
    KEY inventory_card (card)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
  COLLATE=/*!50700 utf8mb4_0900_bin *//*M!100600 utf8mb4_nopad_bin */;

-- The fate of each capture: 1 tombstone, 2 stored, 3 deleted. A fate only rises, and rows are never deleted, except
-- that a tombstone's row is replaced when its picture arrives after all (table `tombstone` keeps the tombstone).
CREATE TABLE IF NOT EXISTS fate (
    spool VARBINARY(16) NOT NULL,
    sequence BIGINT NOT NULL,
    hash VARBINARY(32) NOT NULL,
    fate SMALLINT NOT NULL,
    PRIMARY KEY (spool, sequence, hash)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
  COLLATE=/*!50700 utf8mb4_0900_bin *//*M!100600 utf8mb4_nopad_bin */;

-- Stored pictures without their bytes, so that no list reads bytes. thumbnail: 0 pending, 1 ready, 2 none.
-- `not_before_us`: the camera knew that the capture is not older. `sort_us`: the best estimate of the capture time, which
-- is the order of lists. All pictures of one boot have the same difference to `pressed_boottime_us`, so that they stay in
-- the order of their sequences. `place` and `object`: where the bytes are; place 0 is table `picture_bytes`. A new object
-- sorts after the older ones, so its index grows at its end.
CREATE TABLE IF NOT EXISTS picture (
    arrival BIGINT NOT NULL PRIMARY KEY,
    spool VARBINARY(16) NOT NULL,
    sequence BIGINT NOT NULL,
    hash VARBINARY(32) NOT NULL,
    device VARCHAR(64) NOT NULL,
    bytes BIGINT NOT NULL,
    content_type VARCHAR(32) NOT NULL,
    width BIGINT NOT NULL,
    height BIGINT NOT NULL,
    cause VARCHAR(16) NOT NULL,
    command VARCHAR(64),
    pressed_boot VARBINARY(16) NOT NULL,
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
    object VARCHAR(128),
    UNIQUE KEY picture_capture (spool, sequence, hash),
    UNIQUE KEY picture_object (object, place),
    KEY picture_sorted (sort_us, arrival),
    KEY picture_device_sorted (device, sort_us, arrival),
    KEY picture_boot (device, pressed_boot, pressed_synchronised, arrival),
    KEY picture_thumbnail (thumbnail, arrival),
    KEY picture_conflict (device, conflict),
    KEY picture_damaged (device, damaged)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
  COLLATE=/*!50700 utf8mb4_0900_bin *//*M!100600 utf8mb4_nopad_bin */;

-- The bytes of pictures in place 0, exactly as the camera sent them.
CREATE TABLE IF NOT EXISTS picture_bytes (
    arrival BIGINT NOT NULL PRIMARY KEY,
    bytes LONGBLOB NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
  COLLATE=/*!50700 utf8mb4_0900_bin *//*M!100600 utf8mb4_nopad_bin */;

-- The places outside the database that have ever held bytes of pictures, by their last address.
CREATE TABLE IF NOT EXISTS bytes_place (
    id BIGINT NOT NULL PRIMARY KEY,
    url VARCHAR(512) NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
  COLLATE=/*!50700 utf8mb4_0900_bin *//*M!100600 utf8mb4_nopad_bin */;

-- Objects that no row names any more. They are deleted once `due_us` has passed, and their row here after them.
CREATE TABLE IF NOT EXISTS garbage (
    place BIGINT NOT NULL,
    object VARCHAR(128) NOT NULL,
    due_us BIGINT NOT NULL,
    PRIMARY KEY (place, object),
    KEY garbage_due (due_us)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
  COLLATE=/*!50700 utf8mb4_0900_bin *//*M!100600 utf8mb4_nopad_bin */;

-- Thumbnails, JPEG.
CREATE TABLE IF NOT EXISTS thumbnail (
    arrival BIGINT NOT NULL PRIMARY KEY,
    bytes MEDIUMBLOB NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
  COLLATE=/*!50700 utf8mb4_0900_bin *//*M!100600 utf8mb4_nopad_bin */;

-- The reasons why captures have no picture. `payload` is the camera's JSON, over which the hash is computed.
CREATE TABLE IF NOT EXISTS tombstone (
    spool VARBINARY(16) NOT NULL,
    sequence BIGINT NOT NULL,
    hash VARBINARY(32) NOT NULL,
    through BIGINT NOT NULL,
    device VARCHAR(64) NOT NULL,
    reason VARCHAR(32) NOT NULL,
    payload MEDIUMBLOB NOT NULL,
    at_us BIGINT NOT NULL,
    PRIMARY KEY (spool, sequence, hash),
    KEY tombstone_listed (device, at_us, sequence)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
  COLLATE=/*!50700 utf8mb4_0900_bin *//*M!100600 utf8mb4_nopad_bin */;

-- Clock offsets of boots, which correct the capture times of that boot whenever they are read.
CREATE TABLE IF NOT EXISTS boot_clock (
    boot VARBINARY(16) NOT NULL,
    device VARCHAR(64) NOT NULL,
    hash VARBINARY(32) NOT NULL,
    offset_us BIGINT NOT NULL,
    error_us BIGINT NOT NULL,
    measured_us BIGINT,
    estimated SMALLINT NOT NULL,
    received_us BIGINT NOT NULL,
    PRIMARY KEY (boot, device, hash),
    KEY boot_clock_device (device, received_us)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
  COLLATE=/*!50700 utf8mb4_0900_bin *//*M!100600 utf8mb4_nopad_bin */;

-- Faults and boot clock offsets as cameras sent them; limited for each camera, the oldest are deleted first.
CREATE TABLE IF NOT EXISTS event (
    device VARCHAR(64) NOT NULL,
    hash VARBINARY(32) NOT NULL,
    kind VARCHAR(16) NOT NULL,
    payload MEDIUMBLOB NOT NULL,
    at_us BIGINT NOT NULL,
    PRIMARY KEY (device, hash),
    KEY event_device (device, at_us)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
  COLLATE=/*!50700 utf8mb4_0900_bin *//*M!100600 utf8mb4_nopad_bin */;

-- Hashes of pictures that third-party cameras sent within a day. The same message delivered again is a repeat, even if
-- its picture was deleted in the meantime.
CREATE TABLE IF NOT EXISTS upload_dedup (
    device VARCHAR(64) NOT NULL,
    hash VARBINARY(32) NOT NULL,
    seen_us BIGINT NOT NULL,
    PRIMARY KEY (device, hash),
    KEY upload_dedup_seen (device, seen_us)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
  COLLATE=/*!50700 utf8mb4_0900_bin *//*M!100600 utf8mb4_nopad_bin */;

-- Commands to cameras, and the capture that a snap produced.
CREATE TABLE IF NOT EXISTS command (
    id VARCHAR(64) NOT NULL PRIMARY KEY,
    device VARCHAR(64) NOT NULL,
    command VARCHAR(16) NOT NULL,
    created_us BIGINT NOT NULL,
    expires_us BIGINT NOT NULL,
    sent_us BIGINT,
    spool VARBINARY(16),
    sequence BIGINT,
    KEY command_listed (device, created_us, id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
  COLLATE=/*!50700 utf8mb4_0900_bin *//*M!100600 utf8mb4_nopad_bin */;

-- The stages that a camera reported for a command.
CREATE TABLE IF NOT EXISTS command_stage (
    command VARCHAR(64) NOT NULL,
    stage VARCHAR(16) NOT NULL,
    at_us BIGINT NOT NULL,
    after_us BIGINT,
    text MEDIUMTEXT,
    PRIMARY KEY (command, stage)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
  COLLATE=/*!50700 utf8mb4_0900_bin *//*M!100600 utf8mb4_nopad_bin */;

-- Results of commands, as JSON.
CREATE TABLE IF NOT EXISTS command_result (
    command VARCHAR(64) NOT NULL PRIMARY KEY,
    result MEDIUMTEXT NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
  COLLATE=/*!50700 utf8mb4_0900_bin *//*M!100600 utf8mb4_nopad_bin */;

-- All versions of a camera's desired settings, complete, as JSON. The highest version counts.
CREATE TABLE IF NOT EXISTS device_settings (
    device VARCHAR(64) NOT NULL,
    version BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    desired MEDIUMTEXT NOT NULL,
    changed_us BIGINT NOT NULL,
    PRIMARY KEY (device, version)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
  COLLATE=/*!50700 utf8mb4_0900_bin *//*M!100600 utf8mb4_nopad_bin */;

-- Messages that could not be stored, with the reason and their first bytes. `device` is empty if the topic names none.
CREATE TABLE IF NOT EXISTS quarantine (
    device VARCHAR(64) NOT NULL,
    hash VARBINARY(32) NOT NULL,
    topic VARCHAR(512) NOT NULL,
    reason VARCHAR(512) NOT NULL,
    size BIGINT NOT NULL,
    stored_bytes BIGINT NOT NULL,
    times BIGINT NOT NULL,
    first_us BIGINT NOT NULL,
    last_us BIGINT NOT NULL,
    bytes MEDIUMBLOB NOT NULL,
    PRIMARY KEY (device, hash),
    KEY quarantine_last (last_us)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
  COLLATE=/*!50700 utf8mb4_0900_bin *//*M!100600 utf8mb4_nopad_bin */;

-- Users. `name_key` is the name in lower case, as bytes, so that every database compares it in the same way. Without a
-- password the user has been invited.
CREATE TABLE IF NOT EXISTS user_account (
    id VARBINARY(16) NOT NULL PRIMARY KEY,
    name VARCHAR(64) NOT NULL,
    name_key VARBINARY(255) NOT NULL UNIQUE,
    role VARCHAR(16) NOT NULL,
    password VARCHAR(255),
    created_us BIGINT NOT NULL,
    seen_us BIGINT
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
  COLLATE=/*!50700 utf8mb4_0900_bin *//*M!100600 utf8mb4_nopad_bin */;

-- Links to choose a password; they work once.
CREATE TABLE IF NOT EXISTS invitation (
    user_id VARBINARY(16) NOT NULL PRIMARY KEY,
    token_hash VARBINARY(32) NOT NULL UNIQUE,
    expires_us BIGINT NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
  COLLATE=/*!50700 utf8mb4_0900_bin *//*M!100600 utf8mb4_nopad_bin */;

-- Browser sessions, with the SHA-256 of the cookie.
CREATE TABLE IF NOT EXISTS session (
    token_hash VARBINARY(32) NOT NULL PRIMARY KEY,
    user_id VARBINARY(16) NOT NULL,
    created_us BIGINT NOT NULL,
    used_us BIGINT NOT NULL,
    address VARCHAR(64) NOT NULL,
    agent VARCHAR(255) NOT NULL,
    KEY session_user_id (user_id, used_us)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
  COLLATE=/*!50700 utf8mb4_0900_bin *//*M!100600 utf8mb4_nopad_bin */;

-- API tokens of programs (`role` is a role) and of cameras (`role` is 'camera', with its `device`), with the SHA-256
-- of each.
CREATE TABLE IF NOT EXISTS api_token (
    id VARBINARY(16) NOT NULL PRIMARY KEY,
    name VARCHAR(64) NOT NULL,
    token_hash VARBINARY(32) NOT NULL UNIQUE,
    role VARCHAR(16) NOT NULL,
    device VARCHAR(64),
    created_us BIGINT NOT NULL,
    used_us BIGINT
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
  COLLATE=/*!50700 utf8mb4_0900_bin *//*M!100600 utf8mb4_nopad_bin */;
