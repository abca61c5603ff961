-- One life of a spool, and its counters, which change in the transaction that changes what they count:
-- `sequences` with any fate, and how many fates of each kind there are (a conflict has two on one sequence).
CREATE TABLE install (
    install VARBINARY(16) NOT NULL PRIMARY KEY,
    device VARCHAR(64) NOT NULL,
    uploads SMALLINT NOT NULL,
    next BIGINT NOT NULL,
    next_us BIGINT NOT NULL,
    sequences BIGINT NOT NULL,
    told BIGINT NOT NULL,
    `stored` BIGINT NOT NULL,
    deleted BIGINT NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
  COLLATE=/*!50700 utf8mb4_0900_bin *//*M!100600 utf8mb4_nopad_bin */;
