-- Numbers that are given out inside a commit and never again, such as `arrival`.
CREATE TABLE counter (
    name VARCHAR(64) NOT NULL PRIMARY KEY,
    last BIGINT NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
  COLLATE=/*!50700 utf8mb4_0900_bin *//*M!100600 utf8mb4_nopad_bin */;
