CREATE INDEX partial_device ON partial (device, progress_us);
