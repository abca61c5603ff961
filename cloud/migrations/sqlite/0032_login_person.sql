CREATE INDEX login_person ON login (person, used_us);
