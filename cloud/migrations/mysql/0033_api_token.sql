-- Keys of programs (`rights` is a role) and of cameras (`rights` is 'camera', of `device`): the SHA-256 of each.
CREATE TABLE api_token (
    id VARBINARY(16) NOT NULL PRIMARY KEY,
    name VARCHAR(64) NOT NULL,
    secret VARBINARY(32) NOT NULL UNIQUE,
    rights VARCHAR(16) NOT NULL,
    device VARCHAR(64),
    created_us BIGINT NOT NULL,
    used_us BIGINT
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
  COLLATE=/*!50700 utf8mb4_0900_bin *//*M!100600 utf8mb4_nopad_bin */;
