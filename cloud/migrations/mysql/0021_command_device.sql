CREATE INDEX command_device ON command (device, created_us);
