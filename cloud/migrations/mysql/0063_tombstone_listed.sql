CREATE INDEX tombstone_listed ON tombstone (device, at_us, sequence);
