CREATE TABLE command_stage (
    command VARCHAR(64) NOT NULL,
    stage VARCHAR(16) NOT NULL,
    at_us BIGINT NOT NULL,
    after_us BIGINT,
    text MEDIUMTEXT,
    PRIMARY KEY (command, stage)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
  COLLATE=/*!50700 utf8mb4_0900_bin *//*M!100600 utf8mb4_nopad_bin */;
