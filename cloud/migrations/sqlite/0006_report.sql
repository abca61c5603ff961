-- What a camera last said it has on its card of one install. `card`: the install that card counts in, as a copy of it in
-- another board may bear the same name; both may speak of one install.
CREATE TABLE report (
    device VARCHAR(64) NOT NULL,
    card BLOB NOT NULL,
    install BLOB NOT NULL,
    next BIGINT NOT NULL,
    waiting TEXT NOT NULL,
    kept TEXT NOT NULL,
    coarse SMALLINT NOT NULL,
    at_us BIGINT NOT NULL,
    PRIMARY KEY (device, card, install)
);
