-- One row a stored picture, without its bytes, so that no list ever reads them.
-- thumbnail: 0 pending, 1 ready, 2 none.
CREATE TABLE picture (
    arrival BIGINT NOT NULL PRIMARY KEY,
    install VARBINARY(16) NOT NULL,
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
    conflict SMALLINT NOT NULL,
    damaged SMALLINT NOT NULL,
    thumbnail SMALLINT NOT NULL,
    thumbnail_attempts BIGINT NOT NULL,
    color BIGINT
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
  COLLATE=/*!50700 utf8mb4_0900_bin *//*M!100600 utf8mb4_nopad_bin */;
