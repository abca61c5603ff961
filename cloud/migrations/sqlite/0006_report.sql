-- What a camera last said it has on its card of one install. Two cameras may speak of one install (a cloned card).
CREATE TABLE report (
    device VARCHAR(64) NOT NULL,
    install BLOB NOT NULL,
    next BIGINT NOT NULL,
    waiting TEXT NOT NULL,
    kept TEXT NOT NULL,
    coarse SMALLINT NOT NULL,
    at_us BIGINT NOT NULL,
    PRIMARY KEY (device, install)
);
