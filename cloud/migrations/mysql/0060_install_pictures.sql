-- STORED is a reserved word of MySQL.
ALTER TABLE install RENAME COLUMN `stored` TO pictures;
