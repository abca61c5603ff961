-- The parts themselves. They may overlap: a resend may be cut in other places.
CREATE TABLE part (
    install VARBINARY(16) NOT NULL,
    sequence BIGINT NOT NULL,
    hash VARBINARY(32) NOT NULL,
    start BIGINT NOT NULL,
    len BIGINT NOT NULL,
    bytes LONGBLOB NOT NULL,
    PRIMARY KEY (install, sequence, hash, start)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
  COLLATE=/*!50700 utf8mb4_0900_bin *//*M!100600 utf8mb4_nopad_bin */;
