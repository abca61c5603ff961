-- Numbers that are given out inside a commit and never again, such as `arrival`.
CREATE TABLE counter (
    name VARCHAR(64) NOT NULL PRIMARY KEY,
    last BIGINT NOT NULL
);
