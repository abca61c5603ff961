CREATE INDEX recent_upload_seen ON recent_upload (device, seen_us);
