CREATE TABLE thumbnail (
    arrival BIGINT NOT NULL PRIMARY KEY,
    bytes BLOB NOT NULL
);
