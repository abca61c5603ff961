-- Who may log in. `name_key` is the name in small letters, as bytes, so that every database compares it alike; without
-- a password somebody was invited and has not come yet.
CREATE TABLE person (
    id VARBINARY(16) NOT NULL PRIMARY KEY,
    name VARCHAR(64) NOT NULL,
    name_key VARBINARY(255) NOT NULL UNIQUE,
    rights VARCHAR(16) NOT NULL,
    password VARCHAR(255),
    created_us BIGINT NOT NULL,
    seen_us BIGINT
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
  COLLATE=/*!50700 utf8mb4_0900_bin *//*M!100600 utf8mb4_nopad_bin */;
