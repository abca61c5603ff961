UPDATE device SET pictures = (SELECT COUNT(*) FROM picture WHERE picture.device = device.id);
