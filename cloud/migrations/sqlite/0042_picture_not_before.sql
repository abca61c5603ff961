-- The press was not before this, as far as the camera knew.
ALTER TABLE picture ADD COLUMN not_before_us BIGINT;
