-- The parts themselves. They may overlap: a resend may be cut in other places.
CREATE TABLE part (
    install BLOB NOT NULL,
    sequence BIGINT NOT NULL,
    hash BLOB NOT NULL,
    start BIGINT NOT NULL,
    len BIGINT NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (install, sequence, hash, start)
);
