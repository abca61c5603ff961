-- Why sequences have no picture, in the camera's own words (`payload` is its JSON, the hash is over exactly that).
CREATE TABLE tombstone (
    install VARBINARY(16) NOT NULL,
    sequence BIGINT NOT NULL,
    hash VARBINARY(32) NOT NULL,
    through BIGINT NOT NULL,
    device VARCHAR(64) NOT NULL,
    reason VARCHAR(32) NOT NULL,
    payload MEDIUMBLOB NOT NULL,
    at_us BIGINT NOT NULL,
    PRIMARY KEY (install, sequence, hash)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
  COLLATE=/*!50700 utf8mb4_0900_bin *//*M!100600 utf8mb4_nopad_bin */;
