CREATE TABLE setting (
    device VARCHAR(64) NOT NULL,
    version BIGINT NOT NULL,
    mark BIGINT NOT NULL,
    wished MEDIUMTEXT NOT NULL,
    changed_us BIGINT NOT NULL,
    PRIMARY KEY (device, version)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
  COLLATE=/*!50700 utf8mb4_0900_bin *//*M!100600 utf8mb4_nopad_bin */;
