-- What a camera answered to a command besides its stages, as JSON.
CREATE TABLE command_result (
    command VARCHAR(64) NOT NULL PRIMARY KEY,
    result TEXT NOT NULL
);
