CREATE INDEX command_listed ON command (device, created_us, id);
