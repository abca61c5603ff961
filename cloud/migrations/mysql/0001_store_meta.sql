-- What the store knows about itself, such as its id (cameras pin it). One row a name.
CREATE TABLE store_meta (
    name VARCHAR(64) NOT NULL PRIMARY KEY,
    value VARBINARY(1024) NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
  COLLATE=/*!50700 utf8mb4_0900_bin *//*M!100600 utf8mb4_nopad_bin */;
