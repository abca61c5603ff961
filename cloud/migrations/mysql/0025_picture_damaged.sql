CREATE INDEX picture_damaged ON picture (device, damaged);
