//! Selects device, format and size.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use super::super::convert::{Layout, Raw};
use super::super::driver::{Device, DeviceInfo, Driver, FormatOption, Fourcc, NegotiatedFormat, Size, is_gone};
use crate::hardware::CameraError;

pub(super) const FIX: &str = "check its cable, and `ls /dev/v4l/by-id`; for a CSI camera set camera.backend to rpicam";
/// In the settings: whichever suits best.
const ANY: &str = "auto";
const FORBIDDEN: &str = "let this user open it: sudo usermod -aG video USER, then log in again";

/// Drivers of boards whose devices look like cameras and are parts of one: they turn pictures of others into pictures,
/// and wait for the first for ever.
const NO_CAMERAS: [&str; 6] = ["bcm2835-isp", "bcm2835-codec", "pispbe", "rpivid", "rp1-cfe", "unicam"];

/// JPEG first: the camera has done the work already.
const JPEGS: [Fourcc; 2] = [Fourcc(*b"MJPG"), Fourcc(*b"JPEG")];

/// The kind of frames that the driver agreed to.
pub(super) enum Pixels {
    /// JPEG of this size, according to the driver.
    Jpeg(Size),
    Raw(Raw),
}

/// A device that takes pictures.
pub(super) struct FoundDevice {
    pub(super) path: PathBuf,
    pub(super) device: Box<dyn Device>,
    pub(super) about: DeviceInfo,
    pub(super) offers: Vec<FormatOption>,
}

/// Opens the requested device, or the first camera.
///
/// `requested`: a path; empty = any.
pub(super) fn find(driver: &dyn Driver, requested: &str) -> Result<FoundDevice, CameraError> {
    if !requested.is_empty() {
        return open(driver, Path::new(requested)).map_err(|problem| match problem {
            Problem::System(error) if is_gone(&error) => CameraError::NotFound {
                camera: requested.to_owned(),
                fix: list_cameras(driver).into(),
                source: Some(error),
            },
            problem => problem.into_camera_error(requested.to_owned()),
        });
    }
    let mut forbidden = None;
    let mut refused = None;
    for path in driver.device_paths() {
        match open(driver, &path) {
            Ok(found) if NO_CAMERAS.contains(&found.about.driver.as_str()) => {}
            Ok(found) if !has_picture(&found.offers) => {
                refused.get_or_insert((path, Problem::Useless(no_format_message(&found.offers, ANY))));
            }
            Ok(found) => return Ok(found),
            Err(Problem::System(error)) if error.kind() == io::ErrorKind::PermissionDenied => {
                forbidden.get_or_insert((path, Problem::System(error)));
            }
            Err(Problem::System(_) | Problem::NoCamera) => {}
            Err(problem @ Problem::Useless(_)) => {
                refused.get_or_insert((path, problem));
            }
        }
    }
    // A device that may not be opened is more likely the camera than one that cannot be used.
    Err(match forbidden.or(refused) {
        Some((path, problem)) => problem.into_camera_error(path.display().to_string()),
        None => CameraError::not_found("on any /dev/video*", FIX),
    })
}

/// Why a device is not the camera.
enum Problem {
    /// It has nothing to do with pictures.
    NoCamera,
    /// It has, and they cannot be had.
    Useless(String),
    System(io::Error),
}

impl Problem {
    fn into_camera_error(self, camera: String) -> CameraError {
        match self {
            Self::NoCamera => CameraError::failed(
                camera,
                "it takes no pictures; a USB camera has a second device that takes none, choose the one that ends in index0",
            ),
            Self::Useless(what) => CameraError::failed(camera, what),
            Self::System(error) => CameraError::NotFound {
                camera,
                fix: match error.kind() {
                    io::ErrorKind::PermissionDenied => FORBIDDEN.into(),
                    _ => FIX.into(),
                },
                source: Some(error),
            },
        }
    }
}

fn open(driver: &dyn Driver, path: &Path) -> Result<FoundDevice, Problem> {
    let device = driver.open(path).map_err(Problem::System)?;
    let about = device.info().map_err(|error| match error.raw_os_error() {
        // No driver of V4L2 answers.
        Some(libc::ENOTTY | libc::EINVAL) => Problem::NoCamera,
        Some(_) | None => Problem::System(error),
    })?;
    if !about.capture && about.multi_planar {
        return Err(Problem::Useless(
            "it hands out every plane of a picture by itself, as camera interfaces of boards do: use a USB camera, or set \
             camera.backend to rpicam"
                .to_owned(),
        ));
    }
    if !about.capture {
        return Err(Problem::NoCamera);
    }
    if !about.streaming {
        return Err(Problem::Useless("it cannot stream".to_owned()));
    }
    let offers = device.format_options().map_err(Problem::System)?;
    if offers.is_empty() {
        return Err(Problem::NoCamera);
    }
    Ok(FoundDevice { path: path.to_owned(), device, about, offers })
}

fn has_picture(offers: &[FormatOption]) -> bool {
    offers.iter().any(|offer| rank(offer.fourcc).is_some())
}

/// Lists the cameras that exist, for settings that name a device that does not.
fn list_cameras(driver: &dyn Driver) -> String {
    let mut there = String::new();
    for path in driver.device_paths() {
        if let Ok(found) = open(driver, &path)
            && has_picture(&found.offers)
        {
            let _ = write!(there, "{} ({}), ", path.display(), found.about.card);
        }
    }
    match there.strip_suffix(", ") {
        Some(there) => format!("set camera.device to one that is there: {there}"),
        None => format!("no other camera is there either: {FIX}"),
    }
}

/// Asks for the offers one after the other: the nearest size first, and of those the format that costs least.
///
/// # Errors
/// The device fails; `None` = it keeps to none of its offers.
pub(super) fn select_format(
    device: &dyn Device,
    offers: &[FormatOption],
    requested: Size,
) -> io::Result<Option<(NegotiatedFormat, Pixels)>> {
    let mut candidates: Vec<_> = offers
        .iter()
        .filter_map(|offer| {
            let nearest = offer
                .sizes
                .iter()
                .map(|sizes| sizes.nearest(requested))
                .map(|size| (distance(size, requested), size))
                .min_by_key(|(distance, _)| *distance);
            // Formats that list no sizes are tried last.
            let (distance, size) = nearest.unwrap_or((u32::MAX, requested));
            Some((distance, rank(offer.fourcc)?, offer.fourcc, size))
        })
        .collect();
    candidates.sort_by_key(|&(distance, rank, ..)| (distance, rank));
    for (_, _, fourcc, size) in candidates {
        let agreed = match device.negotiate(fourcc, size) {
            Ok(agreed) if agreed.fourcc == fourcc => agreed,
            // The driver has another format for us, or no such one after all.
            Ok(_) => continue,
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => continue,
            Err(error) => return Err(error),
        };
        if let Some(pixels) = pixels(&agreed) {
            return Ok(Some((agreed, pixels)));
        }
    }
    Ok(None)
}

fn distance(size: Size, requested: Size) -> u32 {
    size.width.abs_diff(requested.width) + size.height.abs_diff(requested.height)
}

/// Lower is better; `None` = no format that becomes a picture here.
fn rank(fourcc: Fourcc) -> Option<usize> {
    let jpeg = JPEGS.iter().position(|known| *known == fourcc);
    let raw = || Layout::KNOWN.iter().position(|(known, _)| *known == fourcc.0);
    jpeg.or_else(|| raw().map(|at| JPEGS.len() + at))
}

fn pixels(agreed: &NegotiatedFormat) -> Option<Pixels> {
    if JPEGS.contains(&agreed.fourcc) {
        return Some(Pixels::Jpeg(agreed.size));
    }
    Some(Pixels::Raw(Raw {
        layout: Layout::of(agreed.fourcc.0)?,
        width: u16::try_from(agreed.size.width).ok()?,
        height: u16::try_from(agreed.size.height).ok()?,
        stride: usize::try_from(agreed.stride).ok()?,
        full_range: agreed.full_range,
        rec709: agreed.rec709,
    }))
}

/// `format`: of the settings.
pub(super) fn matches_format(offer: &FormatOption, format: &str) -> bool {
    format == ANY || offer.fourcc.0 == format.as_bytes()
}

pub(super) fn no_format_message(offers: &[FormatOption], format: &str) -> String {
    let mut known = String::new();
    let all = JPEGS.into_iter().map(|fourcc| fourcc.0);
    for fourcc in all.chain(Layout::KNOWN.map(|(fourcc, _)| fourcc)) {
        if format == ANY || fourcc == format.as_bytes() {
            let _ = write!(known, " {}", Fourcc(fourcc));
        }
    }
    let mut offered = String::new();
    for offer in offers {
        let _ = write!(offered, " {}", offer.fourcc);
    }
    format!("it gives none of{known}; it has{offered}")
}

/// One line of what a camera has.
pub(super) fn describe_option(offer: &FormatOption) -> String {
    /// Cameras by USB have about twenty.
    const SIZES_MAX: usize = 24;
    let mut line = format!("offers {}", offer.fourcc);
    if rank(offer.fourcc).is_none() {
        line.push_str(" (not used)");
    }
    for sizes in offer.sizes.iter().take(SIZES_MAX) {
        let _ = write!(line, " {sizes}");
    }
    if offer.sizes.len() > SIZES_MAX {
        line.push_str(" and more");
    }
    line
}
