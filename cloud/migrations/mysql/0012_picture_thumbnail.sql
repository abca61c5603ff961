CREATE INDEX picture_thumbnail ON picture (thumbnail, arrival);
