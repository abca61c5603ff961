CREATE UNIQUE INDEX picture_capture ON picture (install, sequence, hash);
