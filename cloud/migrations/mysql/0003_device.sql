-- A camera account. `status` is its last full up/status as JSON: a last will says only that it is gone and keeps it.
CREATE TABLE device (
    id VARCHAR(64) NOT NULL PRIMARY KEY,
    first_seen_us BIGINT NOT NULL,
    last_seen_us BIGINT NOT NULL,
    online SMALLINT NOT NULL,
    status MEDIUMTEXT,
    status_us BIGINT
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
  COLLATE=/*!50700 utf8mb4_0900_bin *//*M!100600 utf8mb4_nopad_bin */;
