CREATE INDEX picture_conflict ON picture (device, conflict);
