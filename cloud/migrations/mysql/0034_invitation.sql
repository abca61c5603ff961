-- Links with which somebody chooses a password, once; one for each person.
CREATE TABLE invitation (
    person VARBINARY(16) NOT NULL PRIMARY KEY,
    secret VARBINARY(32) NOT NULL UNIQUE,
    expires_us BIGINT NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
  COLLATE=/*!50700 utf8mb4_0900_bin *//*M!100600 utf8mb4_nopad_bin */;
