-- A capture of which some parts are committed.
CREATE TABLE partial (
    install BLOB NOT NULL,
    sequence BIGINT NOT NULL,
    hash BLOB NOT NULL,
    device VARCHAR(64) NOT NULL,
    total BIGINT NOT NULL,
    parts BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    progress_us BIGINT NOT NULL,
    PRIMARY KEY (install, sequence, hash)
);
