CREATE INDEX event_device ON event (device, at_us);
