-- What became of a capture: 1 tombstone < 2 stored < 3 deleted. Fates only rise and rows are never deleted, except that
-- a tombstone's row makes room for the picture that came after all (the tombstone itself is still in its own table).
CREATE TABLE fate (
    install VARBINARY(16) NOT NULL,
    sequence BIGINT NOT NULL,
    hash VARBINARY(32) NOT NULL,
    fate SMALLINT NOT NULL,
    PRIMARY KEY (install, sequence, hash)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
  COLLATE=/*!50700 utf8mb4_0900_bin *//*M!100600 utf8mb4_nopad_bin */;
