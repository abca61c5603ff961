CREATE INDEX tombstone_device ON tombstone (device, at_us);
