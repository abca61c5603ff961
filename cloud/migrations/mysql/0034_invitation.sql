-- Links with which somebody chooses a password, once; one for each person.
CREATE TABLE invitation (
    person VARBINARY(16) NOT NULL PRIMARY KEY,
    secret VARBINARY(32) NOT NULL UNIQUE,
    expires_us BIGINT NOT NULL
);
