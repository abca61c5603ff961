-- Why sequences have no picture, in the camera's own words (`payload` is its JSON, the hash is over exactly that).
CREATE TABLE tombstone (
    install BLOB NOT NULL,
    sequence BIGINT NOT NULL,
    hash BLOB NOT NULL,
    through BIGINT NOT NULL,
    device VARCHAR(64) NOT NULL,
    reason VARCHAR(32) NOT NULL,
    payload BLOB NOT NULL,
    at_us BIGINT NOT NULL,
    PRIMARY KEY (install, sequence, hash)
);
