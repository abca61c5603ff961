CREATE TABLE picture_bytes (
    arrival BIGINT NOT NULL PRIMARY KEY,
    bytes BLOB NOT NULL
);
