-- What the store knows about itself, such as its id (cameras pin it). One row a name.
CREATE TABLE store_meta (
    name VARCHAR(64) NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
);
