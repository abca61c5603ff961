-- Sessions of browsers: the SHA-256 of what the cookie holds.
CREATE TABLE login (
    secret VARBINARY(32) NOT NULL PRIMARY KEY,
    person VARBINARY(16) NOT NULL,
    created_us BIGINT NOT NULL,
    used_us BIGINT NOT NULL,
    address VARCHAR(64) NOT NULL,
    agent VARCHAR(255) NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
  COLLATE=/*!50700 utf8mb4_0900_bin *//*M!100600 utf8mb4_nopad_bin */;
