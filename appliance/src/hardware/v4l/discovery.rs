//! Lists the devices that may be cameras.

use std::fs;
use std::path::{Path, PathBuf};

/// Names under `by-id` stay when a camera moves to another port, those under `by-path` when another one is plugged in
/// beside it, and numbers stay for nothing.
pub(super) fn device_paths_below(dev: &Path) -> Vec<PathBuf> {
    let listed = |folder: &Path| {
        let mut paths: Vec<PathBuf> =
            fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        // video10 after video9, index1 after index0.
        paths.sort_by_key(|path| (path.as_os_str().len(), path.clone()));
        paths
    };
    let is_video = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with("video"))
    };
    let numbered = listed(dev).into_iter().filter(is_video);
    let mut seen = Vec::new();
    listed(&dev.join("v4l/by-id"))
        .into_iter()
        .chain(listed(&dev.join("v4l/by-path")))
        .chain(numbered)
        .filter(|path| {
            let device = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
            let new = !seen.contains(&device);
            seen.push(device);
            new
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn lasting_names_come_first_and_every_device_once() {
        let dev = tempfile::tempdir().unwrap();
        let path = |name: &str| dev.path().join(name);
        for folder in ["v4l/by-id", "v4l/by-path"] {
            fs::create_dir_all(path(folder)).unwrap();
        }
        for name in ["video0", "video1", "video2", "video10", "vbi0"] {
            fs::write(path(name), "").unwrap();
        }
        for (link, device) in [
            ("v4l/by-id/usb-cam-video-index1", "../../video1"),
            ("v4l/by-id/usb-cam-video-index0", "../../video0"),
            ("v4l/by-path/usb-1.2-video-index0", "../../video0"),
            ("v4l/by-path/platform-isp-video-index0", "../../video10"),
        ] {
            symlink(device, path(link)).unwrap();
        }
        assert_eq!(
            device_paths_below(dev.path()),
            [
                path("v4l/by-id/usb-cam-video-index0"),
                path("v4l/by-id/usb-cam-video-index1"),
                path("v4l/by-path/platform-isp-video-index0"),
                path("video2"),
            ]
        );
        assert_eq!(device_paths_below(&path("nothing")), Vec::<PathBuf>::new());
    }
}
