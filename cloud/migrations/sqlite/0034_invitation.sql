-- Links with which somebody chooses a password, once; one for each person.
CREATE TABLE invitation (
    person BLOB NOT NULL PRIMARY KEY,
    secret BLOB NOT NULL UNIQUE,
    expires_us BIGINT NOT NULL
);
