-- Pictures of cameras that know nothing of Keepsake, by their hash: what such a camera has sent within a day. The same one
-- brought again by the broker is a repeat, also when its picture was deleted meanwhile.
CREATE TABLE recent_upload (
    device VARCHAR(64) NOT NULL,
    hash VARBINARY(32) NOT NULL,
    seen_us BIGINT NOT NULL,
    PRIMARY KEY (device, hash)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
  COLLATE=/*!50700 utf8mb4_0900_bin *//*M!100600 utf8mb4_nopad_bin */;
