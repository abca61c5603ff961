-- What became of a capture: 1 tombstone < 2 stored < 3 deleted. Fates only rise and rows are never deleted, except that
-- a tombstone's row makes room for the picture that came after all (the tombstone itself is still in its own table).
CREATE TABLE fate (
    install BLOB NOT NULL,
    sequence BIGINT NOT NULL,
    hash BLOB NOT NULL,
    fate SMALLINT NOT NULL,
    PRIMARY KEY (install, sequence, hash)
) WITHOUT ROWID;
