-- What cameras have said of the time of their boots; the pictures of a boot are corrected by it when they are read.
CREATE TABLE boot_line (
    boot VARBINARY(16) NOT NULL,
    device VARCHAR(64) NOT NULL,
    hash VARBINARY(32) NOT NULL,
    offset_us BIGINT NOT NULL,
    error_us BIGINT NOT NULL,
    measured_us BIGINT,
    guessed SMALLINT NOT NULL,
    heard_us BIGINT NOT NULL,
    PRIMARY KEY (boot, device, hash)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
  COLLATE=/*!50700 utf8mb4_0900_bin *//*M!100600 utf8mb4_nopad_bin */;
