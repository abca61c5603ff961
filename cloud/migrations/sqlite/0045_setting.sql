-- What is wished of a camera's settings: all of them, as JSON, for each version. The highest is the one that counts.
CREATE TABLE setting (
    device VARCHAR(64) NOT NULL,
    version BIGINT NOT NULL,
    mark BIGINT NOT NULL,
    wished TEXT NOT NULL,
    changed_us BIGINT NOT NULL,
    PRIMARY KEY (device, version)
);
