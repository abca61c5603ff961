CREATE TABLE command (
    id VARCHAR(64) NOT NULL PRIMARY KEY,
    device VARCHAR(64) NOT NULL,
    command VARCHAR(16) NOT NULL,
    created_us BIGINT NOT NULL,
    expires_us BIGINT NOT NULL,
    sent_us BIGINT,
    install VARBINARY(16),
    sequence BIGINT
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
  COLLATE=/*!50700 utf8mb4_0900_bin *//*M!100600 utf8mb4_nopad_bin */;
