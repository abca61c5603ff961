CREATE TABLE command_result (
    command VARCHAR(64) NOT NULL PRIMARY KEY,
    result MEDIUMTEXT NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
  COLLATE=/*!50700 utf8mb4_0900_bin *//*M!100600 utf8mb4_nopad_bin */;
