-- How many pictures are stored: counting them would take the longer the more there are.
ALTER TABLE device ADD COLUMN pictures BIGINT NOT NULL DEFAULT 0;
