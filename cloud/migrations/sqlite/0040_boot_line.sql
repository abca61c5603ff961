-- What cameras have said of the time of their boots; the pictures of a boot are corrected by it when they are read.
CREATE TABLE boot_line (
    boot BLOB NOT NULL,
    device VARCHAR(64) NOT NULL,
    hash BLOB NOT NULL,
    offset_us BIGINT NOT NULL,
    error_us BIGINT NOT NULL,
    measured_us BIGINT,
    guessed SMALLINT NOT NULL,
    heard_us BIGINT NOT NULL,
    PRIMARY KEY (boot, device, hash)
);
