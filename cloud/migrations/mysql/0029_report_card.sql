CREATE INDEX report_card ON report (card);
