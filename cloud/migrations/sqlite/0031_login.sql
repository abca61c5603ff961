-- Sessions of browsers: the SHA-256 of what the cookie holds.
CREATE TABLE login (
    secret BLOB NOT NULL PRIMARY KEY,
    person BLOB NOT NULL,
    created_us BIGINT NOT NULL,
    used_us BIGINT NOT NULL,
    address VARCHAR(64) NOT NULL,
    agent VARCHAR(255) NOT NULL
);
