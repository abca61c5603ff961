CREATE INDEX picture_device ON picture (device, arrival);
