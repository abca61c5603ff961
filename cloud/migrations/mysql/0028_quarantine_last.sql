CREATE INDEX quarantine_last ON quarantine (last_us);
