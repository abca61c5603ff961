-- What came in and cannot be attributed or is not what it says: the reason, the topic, and the first bytes of it.
-- device is '' where the topic names none.
CREATE TABLE quarantine (
    device VARCHAR(64) NOT NULL,
    hash VARBINARY(32) NOT NULL,
    topic VARCHAR(512) NOT NULL,
    reason VARCHAR(512) NOT NULL,
    size BIGINT NOT NULL,
    kept BIGINT NOT NULL,
    times BIGINT NOT NULL,
    first_us BIGINT NOT NULL,
    last_us BIGINT NOT NULL,
    bytes MEDIUMBLOB NOT NULL,
    PRIMARY KEY (device, hash)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
  COLLATE=/*!50700 utf8mb4_0900_bin *//*M!100600 utf8mb4_nopad_bin */;
