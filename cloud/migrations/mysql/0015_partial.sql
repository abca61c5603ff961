-- A capture of which some parts are committed.
CREATE TABLE partial (
    install VARBINARY(16) NOT NULL,
    sequence BIGINT NOT NULL,
    hash VARBINARY(32) NOT NULL,
    device VARCHAR(64) NOT NULL,
    total BIGINT NOT NULL,
    parts BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    progress_us BIGINT NOT NULL,
    PRIMARY KEY (install, sequence, hash)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
  COLLATE=/*!50700 utf8mb4_0900_bin *//*M!100600 utf8mb4_nopad_bin */;
