CREATE TABLE command (
    id VARCHAR(64) NOT NULL PRIMARY KEY,
    device VARCHAR(64) NOT NULL,
    command VARCHAR(16) NOT NULL,
    created_us BIGINT NOT NULL,
    expires_us BIGINT NOT NULL,
    sent_us BIGINT,
    install BLOB,
    sequence BIGINT
);
