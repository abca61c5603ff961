-- Faults and boot lines as cameras sent them; bounded per camera, the oldest go first.
CREATE TABLE event (
    device VARCHAR(64) NOT NULL,
    hash VARBINARY(32) NOT NULL,
    kind VARCHAR(16) NOT NULL,
    payload MEDIUMBLOB NOT NULL,
    at_us BIGINT NOT NULL,
    PRIMARY KEY (device, hash)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
  COLLATE=/*!50700 utf8mb4_0900_bin *//*M!100600 utf8mb4_nopad_bin */;
