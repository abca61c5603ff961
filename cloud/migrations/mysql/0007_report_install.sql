CREATE INDEX report_install ON report (install);
