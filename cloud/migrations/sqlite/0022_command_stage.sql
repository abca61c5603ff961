CREATE TABLE command_stage (
    command VARCHAR(64) NOT NULL,
    stage VARCHAR(16) NOT NULL,
    at_us BIGINT NOT NULL,
    after_us BIGINT,
    text TEXT,
    PRIMARY KEY (command, stage)
);
