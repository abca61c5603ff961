CREATE INDEX install_device ON install (device);
