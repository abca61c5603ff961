CREATE INDEX boot_line_device ON boot_line (device, heard_us);
