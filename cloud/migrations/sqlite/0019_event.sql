-- Faults and boot lines as cameras sent them; bounded per camera, the oldest go first.
CREATE TABLE event (
    device VARCHAR(64) NOT NULL,
    hash BLOB NOT NULL,
    kind VARCHAR(16) NOT NULL,
    payload BLOB NOT NULL,
    at_us BIGINT NOT NULL,
    PRIMARY KEY (device, hash)
);
