-- What a camera last said it has on its card of one install. `card`: the install that card counts in, as a copy of it in
-- another board may bear the same name; both may speak of one install.
CREATE TABLE report (
    device VARCHAR(64) NOT NULL,
    card VARBINARY(16) NOT NULL,
    install VARBINARY(16) NOT NULL,
    next BIGINT NOT NULL,
    waiting MEDIUMTEXT NOT NULL,
    kept MEDIUMTEXT NOT NULL,
    coarse SMALLINT NOT NULL,
    at_us BIGINT NOT NULL,
    PRIMARY KEY (device, card, install)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
  COLLATE=/*!50700 utf8mb4_0900_bin *//*M!100600 utf8mb4_nopad_bin */;
