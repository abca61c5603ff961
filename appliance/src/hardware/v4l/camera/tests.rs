//! Every row of [the fault table](crate::hardware::v4l), played on a driver that does what the test says.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use keepsake_protocol::event::TombstoneReason::{CameraFailed, CameraNotFound, CameraTimedOut};
use keepsake_protocol::settings::schema::{RawValue, Setting};
use parking_lot::Mutex;

use self::Does::{Fails, Gives, GivesMarked, GivesOld, GivesUnstamped, TimesOut};
use super::super::driver::{
    BufferTimestamp, ControlRange, DequeuedFrame, Device, DeviceInfo, Driver, FormatOption, Fourcc, NegotiatedFormat,
    Size, Sizes, Stream,
};
use super::*;
use crate::hardware::Camera as _;
use crate::hardware::testing::{self, assert_error, grey, grey_jpeg, without_tables};
use crate::hardware::v4l::convert::Layout;

const WIDTH: u16 = 64;
const HEIGHT: u16 = 48;
/// Long enough that no test depends on it, and a test that waits for it is seen to.
const DEADLINE: Duration = Duration::from_secs(20);

/// The answer of a driver that is asked for the next frame.
#[derive(Debug, Clone)]
enum Does {
    /// Hands out a frame that began now.
    Gives(Vec<u8>),
    /// One that began long ago.
    GivesOld(Vec<u8>),
    /// One that it does not stamp.
    GivesUnstamped(Vec<u8>),
    GivesMarked(Vec<u8>),
    Fails(i32),
    TimesOut,
}

/// One device as the kernel would have it, shared with the test.
#[derive(Debug, Clone)]
struct Scripted {
    path: PathBuf,
    about: DeviceInfo,
    offers: Vec<FormatOption>,
    /// Agrees to something else when asked for one of these.
    goes_back_on: Vec<Fourcc>,
    stride: u32,
    /// The answer to opening it.
    open: Option<i32>,
    agree: Option<i32>,
    map: Option<i32>,
    brightness: Option<ControlRange>,
    interval_us: Option<u64>,
    /// The answer to asking for more frames.
    rate: Option<i32>,
}

#[derive(Default)]
struct World {
    devices: Vec<Scripted>,
    /// The answers of streams, one after the other. Where a list ends, its stream times out.
    streams: VecDeque<Vec<Does>>,
    agreed: Vec<(Fourcc, Size)>,
    brightness_set: Vec<i32>,
    frame_rates_set: Vec<u32>,
    streams_begun: usize,
}

#[derive(Clone, Default)]
struct Kernel(Arc<Mutex<World>>);

impl Kernel {
    fn of(devices: &[Scripted], streams: &[&[Does]]) -> Self {
        let kernel = Self::default();
        kernel.0.lock().devices = devices.to_vec();
        kernel.will(streams);
        kernel
    }

    fn will(&self, streams: &[&[Does]]) {
        self.0.lock().streams = streams.iter().map(|does| does.to_vec()).collect();
    }

    fn streams_begun(&self) -> usize {
        self.0.lock().streams_begun
    }

    fn camera(&self, set: impl FnOnce(&mut settings::CameraSettings)) -> V4lCamera {
        let mut settings = settings::CameraSettings {
            width: WIDTH.into(),
            height: HEIGHT.into(),
            warm_up_frames: 0,
            ..settings::Config::default().camera
        };
        set(&mut settings);
        V4lCamera::new(Box::new(self.clone()), &settings)
    }
}

fn errno(errno: i32) -> io::Error {
    io::Error::from_raw_os_error(errno)
}

fn error_of(failure: Option<i32>) -> io::Result<()> {
    failure.map_or(Ok(()), |failure| Err(errno(failure)))
}

impl Driver for Kernel {
    fn device_paths(&self) -> Vec<PathBuf> {
        self.0.lock().devices.iter().map(|device| device.path.clone()).collect()
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Device>> {
        let world = self.0.lock();
        let device = world
            .devices
            .iter()
            .find(|device| device.path == path)
            .ok_or_else(|| errno(libc::ENOENT))?;
        error_of(device.open)?;
        Ok(Box::new(Opened { device: device.clone(), world: self.0.clone() }))
    }
}

struct Opened {
    device: Scripted,
    world: Arc<Mutex<World>>,
}

impl Device for Opened {
    fn info(&self) -> io::Result<DeviceInfo> {
        Ok(self.device.about.clone())
    }

    fn format_options(&self) -> io::Result<Vec<FormatOption>> {
        Ok(self.device.offers.clone())
    }

    fn negotiate(&self, fourcc: Fourcc, size: Size) -> io::Result<NegotiatedFormat> {
        error_of(self.device.agree)?;
        self.world.lock().agreed.push((fourcc, size));
        let other = Fourcc(*b"H264");
        let goes_back = self.device.goes_back_on.contains(&fourcc);
        Ok(NegotiatedFormat {
            fourcc: if goes_back { other } else { fourcc },
            size,
            stride: self.device.stride,
            full_range: false,
            rec709: false,
        })
    }

    fn interval_us(&self) -> io::Result<Option<u64>> {
        Ok(self.device.interval_us)
    }

    fn set_frame_rate(&self, frames_per_s: u32) -> io::Result<()> {
        self.world.lock().frame_rates_set.push(frames_per_s);
        error_of(self.device.rate)
    }

    fn brightness(&self) -> io::Result<Option<ControlRange>> {
        Ok(self.device.brightness)
    }

    fn set_brightness(&self, value: i32) -> io::Result<()> {
        self.world.lock().brightness_set.push(value);
        Ok(())
    }

    fn stream(&self, buffers: u32) -> io::Result<Box<dyn Stream>> {
        assert!(buffers > 0);
        error_of(self.device.map)?;
        let mut world = self.world.lock();
        world.streams_begun += 1;
        let does = world.streams.pop_front().unwrap_or_default();
        Ok(Box::new(Played { does: does.into(), bytes: Vec::new(), failed: false }))
    }
}

struct Played {
    does: VecDeque<Does>,
    bytes: Vec<u8>,
    failed: bool,
}

impl Stream for Played {
    fn next(&mut self, _timeout: Duration) -> io::Result<DequeuedFrame<'_>> {
        assert!(!self.failed, "a stream that failed was asked again");
        let began = |us| Some(BufferTimestamp::Began(us));
        // No two frames of a camera begin at once.
        let before = clock::monotonic_us();
        while clock::monotonic_us() == before {
            std::hint::spin_loop();
        }
        let (bytes, stamp, broken) = match self.does.pop_front().unwrap_or(Does::TimesOut) {
            Does::Gives(bytes) => (bytes, began(clock::monotonic_us()), false),
            Does::GivesMarked(bytes) => (bytes, began(clock::monotonic_us()), true),
            Does::GivesOld(bytes) => (bytes, began(1), false),
            Does::GivesUnstamped(bytes) => (bytes, None, false),
            Does::Fails(failure) => {
                self.failed = true;
                return Err(errno(failure));
            }
            Does::TimesOut => {
                self.failed = true;
                return Err(io::ErrorKind::TimedOut.into());
            }
        };
        self.bytes = bytes;
        Ok(DequeuedFrame { bytes: &self.bytes, stamp, broken })
    }
}

fn size(width: u16, height: u16) -> Size {
    Size { width: width.into(), height: height.into() }
}

fn offer(fourcc: &[u8; 4], sizes: &[Size]) -> FormatOption {
    FormatOption {
        fourcc: Fourcc(*fourcc),
        sizes: sizes.iter().copied().map(Sizes::One).collect(),
    }
}

fn camera_at(path: &str, offers: &[FormatOption]) -> Scripted {
    Scripted {
        path: path.into(),
        about: DeviceInfo {
            driver: "uvcvideo".to_owned(),
            card: "Test Camera".to_owned(),
            bus: "usb-1.2".to_owned(),
            capture: true,
            multi_planar: false,
            streaming: true,
        },
        offers: offers.to_vec(),
        goes_back_on: Vec::new(),
        stride: 0,
        open: None,
        agree: None,
        map: None,
        brightness: None,
        interval_us: None,
        rate: None,
    }
}

const BY_ID: &str = "/dev/v4l/by-id/usb-Test-video-index0";

/// With MJPEG in one size.
fn jpeg_camera() -> Scripted {
    camera_at(BY_ID, &[offer(b"MJPG", &[size(WIDTH, HEIGHT)])])
}

fn raw_camera() -> Scripted {
    camera_at(BY_ID, &[offer(b"YUYV", &[size(WIDTH, HEIGHT)])])
}

/// A JPEG whose grey says which one it is.
fn jpeg(grey: u8) -> Vec<u8> {
    jpeg_of(grey, WIDTH, HEIGHT)
}

fn jpeg_of(grey: u8, width: u16, height: u16) -> Vec<u8> {
    grey_jpeg(&vec![grey; usize::from(width) * usize::from(height)], width, height)
}

fn raw(grey: u8) -> Vec<u8> {
    [grey, 128].repeat(usize::from(WIDTH) * usize::from(HEIGHT))
}

#[track_caller]
fn assert_grey(frame: Result<Frame, CameraError>, expected: u8) {
    testing::assert_grey(frame, expected, 3);
}

/// A camera with MJPEG whose streams do what the test says.
fn running(streams: &[&[Does]]) -> (Kernel, V4lCamera) {
    let kernel = Kernel::of(&[jpeg_camera()], streams);
    let camera = kernel.camera(|_| {});
    (kernel, camera)
}

/// Plays one stream of a device and takes one frame.
fn frame_of(device: Scripted, stream: &[Does]) -> Result<Frame, CameraError> {
    Kernel::of(&[device], &[stream]).camera(|_| {}).frame(DEADLINE)
}

#[test]
fn a_press_takes_a_picture_and_the_stream_runs_on() {
    let (kernel, mut camera) = running(&[&[Gives(jpeg(50)), Gives(jpeg(90))]]);
    assert_grey(camera.frame(DEADLINE), 50);
    assert_grey(camera.frame(DEADLINE), 90);
    assert_eq!(kernel.streams_begun(), 1);
}

#[test]
fn a_camera_that_was_prepared_is_running_at_the_first_press() {
    let (kernel, mut camera) = running(&[&[Gives(jpeg(50)), Gives(jpeg(90))]]);
    camera.prepare(DEADLINE);
    assert_grey(camera.frame(DEADLINE), 90);
    assert_eq!(kernel.streams_begun(), 1);
    // One that is not there yet is no reason to stop.
    let unplugged = Kernel::of(&[], &[]);
    unplugged.camera(|_| {}).prepare(DEADLINE);
}

#[test]
fn a_missing_camera_is_reported_at_once() {
    let mut camera = Kernel::of(&[], &[]).camera(|_| {});
    assert_error(camera.frame(DEADLINE), CameraNotFound, &["check its cable", "rpicam"]);
}

#[test]
fn a_named_camera_that_is_missing_says_which_ones_are_there() {
    let metadata = camera_at("/dev/video1", &[]);
    let kernel = Kernel::of(&[jpeg_camera(), metadata], &[]);
    let mut camera = kernel.camera(|s| s.device = "/dev/video7".to_owned());
    let says = ["/dev/video7", "set camera.device", BY_ID, "Test Camera"];
    let frame = camera.frame(DEADLINE);
    let text = frame.as_ref().unwrap_err().to_string();
    assert!(!text.contains("/dev/video1"), "{text}");
    assert_error(frame, CameraNotFound, &says);
    // The name of one that takes no pictures says what to take instead.
    let mut camera = kernel.camera(|s| s.device = "/dev/video1".to_owned());
    assert_error(camera.frame(DEADLINE), CameraFailed, &["index0"]);
}

#[test]
fn what_cannot_become_a_picture_is_named() {
    let h264 = camera_at(BY_ID, &[offer(b"H264", &[]), offer(b"pRAA", &[])]);
    assert_error(frame_of(h264, &[]), CameraFailed, &["none of MJPG JPEG YUYV", "it has H264 pRAA"]);
    let mut planes = raw_camera();
    (planes.about.capture, planes.about.multi_planar) = (false, true);
    assert_error(frame_of(planes, &[]), CameraFailed, &["every plane", "rpicam"]);
}

#[test]
fn parts_of_a_board_are_not_taken_for_cameras() {
    let mut isp = camera_at("/dev/video14", &[offer(b"YUYV", &[])]);
    isp.about.driver = "bcm2835-isp".to_owned();
    let metadata = camera_at("/dev/video1", &[]);
    let alone = Kernel::of(&[isp.clone(), metadata.clone()], &[]);
    assert!(!alone.camera(|_| {}).is_there());
    let kernel = Kernel::of(&[isp, metadata, jpeg_camera()], &[&[Gives(jpeg(70))]]);
    assert!(kernel.camera(|_| {}).is_there());
    assert_grey(kernel.camera(|_| {}).frame(DEADLINE), 70);
}

#[test]
fn another_format_than_agreed_leads_to_the_next_offer() {
    let sizes = [size(WIDTH, HEIGHT)];
    let offers = [offer(b"H264", &sizes), offer(b"YUYV", &sizes), offer(b"MJPG", &sizes)];
    let mut device = camera_at(BY_ID, &offers);
    device.goes_back_on = vec![Fourcc(*b"MJPG")];
    let kernel = Kernel::of(&[device.clone()], &[&[Gives(raw(126))]]);
    assert_grey(kernel.camera(|_| {}).frame(DEADLINE), 128);
    device.goes_back_on.push(Fourcc(*b"YUYV"));
    assert_error(frame_of(device, &[]), CameraFailed, &["it has H264 YUYV MJPG"]);
}

#[test]
fn the_nearest_size_wins_and_then_the_cheapest_format() {
    let steps = Sizes::Steps { min: size(32, 32), max: size(1920, 1200), step: size(16, 8) };
    let any = FormatOption { fourcc: Fourcc(*b"NV12"), sizes: vec![steps] };
    let offers = [
        offer(b"YUYV", &[size(640, 480), size(1280, 720)]),
        offer(b"MJPG", &[size(1280, 720), size(1920, 1080)]),
        offer(b"GREY", &[]),
        any,
    ];
    for (requested, fourcc, agreed) in [
        ((1920, 1080), b"MJPG", size(1920, 1080)),
        ((1300, 700), b"NV12", size(1296, 704)),
        ((1280, 720), b"MJPG", size(1280, 720)),
        ((4000, 3000), b"NV12", size(1920, 1200)),
        ((640, 480), b"YUYV", size(640, 480)),
    ] {
        let kernel = Kernel::of(&[camera_at(BY_ID, &offers)], &[]);
        let mut camera = kernel.camera(|s| (s.width, s.height) = requested);
        let _ = camera.frame(Duration::from_millis(1));
        assert_eq!(kernel.0.lock().agreed, [(Fourcc(*fourcc), agreed)], "{requested:?}");
    }
}

#[test]
fn the_format_of_the_settings_is_used_or_reported_as_missing() {
    let sizes = [size(WIDTH, HEIGHT)];
    let device = camera_at(BY_ID, &[offer(b"MJPG", &sizes), offer(b"YUYV", &sizes)]);
    let kernel = Kernel::of(&[device], &[&[Gives(raw(126))]]);
    assert_grey(kernel.camera(|s| s.format = "YUYV".to_owned()).frame(DEADLINE), 128);
    let mut camera = kernel.camera(|s| s.format = "NV12".to_owned());
    assert_error(camera.frame(DEADLINE), CameraFailed, &["none of NV12;", "it has MJPG YUYV"]);
    // Every format that is known here can be set, and no other.
    let setting = Setting::find("camera.format").unwrap();
    let mut known: Vec<String> = Layout::KNOWN.map(|(f, _)| Fourcc(f).to_string()).into();
    known.extend(["auto", "MJPG", "JPEG"].map(str::to_owned));
    for format in &known {
        assert_eq!(setting.check(RawValue::Text(format)), Ok(()), "{format}");
    }
    assert_eq!(setting.constraint().split(", ").count(), known.len());
}

#[test]
fn a_camera_in_use_or_forbidden_names_the_fix() {
    let busy = Scripted { agree: Some(libc::EBUSY), ..jpeg_camera() };
    assert_error(frame_of(busy, &[]), CameraFailed, &["another program uses it"]);
    let forbidden = Scripted { open: Some(libc::EACCES), ..jpeg_camera() };
    let kernel = Kernel::of(&[forbidden], &[]);
    for device in ["", BY_ID] {
        let mut camera = kernel.camera(|s| s.device = device.to_owned());
        assert_error(camera.frame(DEADLINE), CameraNotFound, &["usermod -aG video", BY_ID]);
    }
    let no_room = Scripted { map: Some(libc::ENOSPC), ..jpeg_camera() };
    assert_error(frame_of(no_room, &[]), CameraFailed, &["camera.width"]);
}

#[test]
fn a_new_stream_without_a_frame_times_out_and_the_next_press_builds_another() {
    let (kernel, mut camera) = running(&[&[], &[Gives(jpeg(60))]]);
    assert_error(camera.frame(DEADLINE), CameraTimedOut, &[BY_ID]);
    assert_eq!(kernel.streams_begun(), 1, "once a press");
    assert_grey(camera.frame(DEADLINE), 60);
}

#[test]
fn a_kept_stream_that_died_is_rebuilt_within_the_press() {
    for died in [TimesOut, Fails(libc::EIO), Fails(libc::ENODEV)] {
        let (kernel, mut camera) = running(&[&[Gives(jpeg(40)), died.clone()], &[Gives(jpeg(80))]]);
        assert_grey(camera.frame(DEADLINE), 40);
        assert_grey(camera.frame(DEADLINE), 80);
        assert_eq!(kernel.streams_begun(), 2, "{died:?}");
    }
}

#[test]
fn a_driver_that_hiccups_costs_no_picture_and_one_that_fails_on_is_given_up() {
    for errno in [libc::EIO, libc::EPROTO, libc::EINVAL] {
        let kernel = Kernel::of(&[jpeg_camera()], &[&[Fails(errno)], &[Gives(jpeg(55))]]);
        assert_grey(kernel.camera(|_| {}).frame(DEADLINE), 55);
    }
    let fails = [Fails(libc::EIO)];
    let kernel = Kernel::of(&[jpeg_camera()], &[&fails[..]; 9]);
    let frame = kernel.camera(|_| {}).frame(DEADLINE);
    assert_error(frame, CameraFailed, &["cable and the power supply", BY_ID]);
    assert_eq!(kernel.streams_begun(), 2);
}

#[test]
fn an_unplugged_camera_is_reported_until_it_is_back() {
    let (kernel, mut camera) = running(&[&[Gives(jpeg(30)), Fails(libc::ENODEV)]]);
    assert_grey(camera.frame(DEADLINE), 30);
    let unplugged = std::mem::take(&mut kernel.0.lock().devices);
    for _ in 0..3 {
        assert_error(camera.frame(DEADLINE), CameraNotFound, &["check its cable"]);
    }
    kernel.0.lock().devices = unplugged;
    kernel.will(&[&[Gives(jpeg(110))]]);
    assert_grey(camera.frame(DEADLINE), 110);
}

#[test]
fn a_camera_that_goes_during_a_press_is_not_waited_for() {
    let kernel = Kernel::of(&[jpeg_camera()], &[&[Fails(libc::ENODEV)]]);
    let frame = kernel.camera(|_| {}).frame(DEADLINE);
    assert_error(frame, CameraNotFound, &["check its cable"]);
    assert_eq!(kernel.streams_begun(), 1);
}

#[test]
fn damaged_jpegs_are_passed_over() {
    let whole = jpeg(200);
    let half = whole[..whole.len() / 2].to_vec();
    let in_a_full_buffer = [&half[..], &[0; 4000]].concat();
    let without_end = whole[..whole.len() - 2].to_vec();
    let two_halves = [&half[..], &whole].concat();
    let mut without_size = whole.clone();
    let at = without_size.windows(2).position(|w| w == [0xff, 0xc0]);
    without_size[at.unwrap() + 5..][..4].fill(0);
    for damaged in [
        half,
        in_a_full_buffer,
        without_end,
        two_halves,
        without_size,
        Vec::new(),
        vec![0; 5000],
        jpeg_of(200, 32, 32),
    ] {
        let script = [Gives(damaged.clone()), Gives(jpeg(100))];
        assert_grey(frame_of(jpeg_camera(), &script), 100);
    }
    let script = [GivesMarked(whole), Gives(jpeg(100))];
    assert_grey(frame_of(jpeg_camera(), &script), 100);
}

#[test]
fn a_camera_that_keeps_to_another_size_is_believed() {
    let frame = frame_of(jpeg_camera(), &vec![Gives(jpeg_of(100, 64, 56)); 3]).unwrap();
    assert_eq!((frame.width, frame.height), (64, 56));
    assert_grey(Ok(frame), 100);
}

#[test]
fn a_frame_without_huffman_tables_becomes_a_picture() {
    let whole = jpeg(140);
    let bare = without_tables(&whole);
    assert_eq!(brightness(&bare, ContentType::Jpeg), None);
    assert_grey(frame_of(jpeg_camera(), &[Gives(bare)]), 140);
}

#[test]
fn short_raw_frames_are_passed_over_and_padding_is_none_of_the_picture() {
    let short = raw(235)[1..].to_vec();
    let script = [Gives(short), Gives(raw(126))];
    assert_grey(frame_of(raw_camera(), &script), 128);

    let mut padded = raw_camera();
    let line_bytes = usize::from(WIDTH) * 2;
    padded.stride = u32::from(WIDTH) * 2 + 32;
    let line = [[126, 128].repeat(line_bytes / 2), vec![235; 32]].concat();
    let frame = line.repeat(HEIGHT.into());
    assert_grey(frame_of(padded, &[Gives(frame)]), 128);
}

#[test]
fn damaged_frames_without_end_are_given_up() {
    let damaged = vec![Gives(vec![1, 2, 3]); 500];
    let (kernel, mut camera) = running(&[&damaged]);
    assert_error(camera.frame(DEADLINE), CameraFailed, &["30 damaged frames", "does not begin as one"]);
    // And nothing of it stays.
    kernel.will(&[&[Gives(jpeg(100))]]);
    assert_grey(camera.frame(DEADLINE), 100);
}

#[test]
fn a_frame_above_the_bound_names_the_setting() {
    let kernel = Kernel::of(&[jpeg_camera()], &[&[Gives(vec![7; 70_000])]]);
    let mut camera = kernel.camera(|s| s.frame_bytes_max = 65_536);
    assert_error(camera.frame(DEADLINE), CameraFailed, &["70000", "camera.frame_bytes_max"]);
}

#[test]
fn frames_that_waited_in_the_driver_are_not_the_picture_of_this_press() {
    // Three buffers filled right after the last press, minutes ago.
    let old = vec![GivesOld(jpeg(200)); 3];
    let script = [&[Gives(jpeg(40))], &old[..], &[Gives(jpeg(80))]].concat();
    let (_, mut camera) = running(&[&script]);
    assert_grey(camera.frame(DEADLINE), 40);
    assert_grey(camera.frame(DEADLINE), 80);
}

#[test]
fn frames_without_a_stamp_are_passed_over_by_number() {
    let script = [vec![GivesUnstamped(jpeg(200)); 8], vec![GivesUnstamped(jpeg(80))]].concat();
    assert_grey(frame_of(jpeg_camera(), &script), 80);
}

#[test]
fn a_camera_that_starts_dark_is_waited_for_within_the_bounds() {
    // It gets brighter for six frames, then stays so.
    let levels = [10, 40, 70, 100, 120, 130, 130, 130, 130, 131];
    for (make, scripted) in [(jpeg as fn(u8) -> Vec<u8>, jpeg_camera()), (raw, raw_camera())] {
        let script = levels.map(|level| Gives(make(level)));
        let warmed = |frames: u64, seconds: u64| {
            let kernel = Kernel::of(std::slice::from_ref(&scripted), &[&script]);
            let mut camera = kernel.camera(|s| (s.warm_up_frames, s.warm_up_s) = (frames, seconds));
            grey(&camera.frame(DEADLINE).unwrap())
        };
        assert!(warmed(30, 20) >= 125, "until it stands still");
        assert!(warmed(2, 20).abs_diff(70) <= 10, "at most this number of frames");
        assert!(warmed(30, 0) <= 12, "at most so long");
        assert!(warmed(0, 20) <= 12);
    }
}

#[test]
fn brightness_is_a_share_of_the_range_and_is_put_back() {
    let mut device = jpeg_camera();
    device.brightness = Some(ControlRange { min: -64, max: 64, step: 1, default: -10 });
    let gives = [Gives(jpeg(99))];
    let kernel = Kernel::of(&[device], &[&gives[..]; 9]);
    let mut camera = kernel.camera(|_| {});
    let mut settings = camera.settings.clone();
    let mut frame_with = |percent| {
        settings.brightness_percent = percent;
        camera.configure(&settings);
        assert_grey(camera.frame(DEADLINE), 99);
        kernel.0.lock().brightness_set.clone()
    };
    assert!(frame_with(0).is_empty(), "a camera is left as it is");
    assert_eq!(frame_with(75), [32]);
    assert_eq!(frame_with(0), [32, -10]);
    // A camera without it still takes pictures.
    let kernel = Kernel::of(&[jpeg_camera()], &[&gives]);
    let mut camera = kernel.camera(|s| s.brightness_percent = 10);
    assert_grey(camera.frame(DEADLINE), 99);
}

#[test]
fn a_slow_camera_is_asked_for_more_frames_and_a_quick_one_is_left_alone() {
    let gives = [Gives(jpeg(99))];
    let asked_for = |interval_us, least, rate| {
        let mut device = jpeg_camera();
        (device.interval_us, device.rate) = (interval_us, rate);
        let kernel = Kernel::of(&[device], &[&gives]);
        let mut camera = kernel.camera(|s| s.frames_per_s_min = least);
        // Whatever comes of it, there is a picture.
        assert_grey(camera.frame(DEADLINE), 99);
        kernel.0.lock().frame_rates_set.clone()
    };
    assert_eq!(asked_for(Some(1_000_000), 10, None), [10]);
    assert_eq!(asked_for(Some(100_001), 10, None), [10]);
    assert_eq!(asked_for(Some(1_000_000), 10, Some(libc::EIO)), [10]);
    for (interval_us, least) in [(Some(100_000), 10), (Some(33_333), 10), (None, 10)] {
        assert!(asked_for(interval_us, least, None).is_empty());
    }
    assert!(asked_for(Some(1_000_000), 0, None).is_empty(), "0 = as it is");
}

#[test]
fn other_settings_hold_from_the_next_frame_on() {
    let sizes = [size(WIDTH, HEIGHT), size(32, 24)];
    let device = camera_at(BY_ID, &[offer(b"MJPG", &sizes)]);
    let small = [Gives(jpeg_of(20, 32, 24))];
    let kernel = Kernel::of(&[device], &[&[Gives(jpeg(10)), Gives(jpeg(15))], &small]);
    let mut camera = kernel.camera(|_| {});
    assert_grey(camera.frame(DEADLINE), 10);
    let mut settings = settings::CameraSettings { timeout_s: 3, ..camera.settings.clone() };
    camera.configure(&settings);
    assert_grey(camera.frame(DEADLINE), 15);
    assert_eq!(kernel.streams_begun(), 1, "the stream need not change");
    (settings.width, settings.height) = (32, 24);
    camera.configure(&settings);
    let frame = camera.frame(DEADLINE).unwrap();
    assert_eq!((frame.width, frame.height), (32, 24));
}

#[test]
fn a_camera_describes_itself_and_its_formats() {
    let offers = [offer(b"MJPG", &[size(WIDTH, HEIGHT), size(32, 24)]), offer(b"H264", &[])];
    let kernel = Kernel::of(&[camera_at(BY_ID, &offers)], &[&[Gives(jpeg(10))]]);
    let mut camera = kernel.camera(|_| {});
    assert_eq!(camera.describe(), [""; 0]);
    camera.frame(DEADLINE).unwrap();
    assert_eq!(
        camera.describe(),
        [
            "Test Camera (uvcvideo, usb-1.2) at /dev/v4l/by-id/usb-Test-video-index0",
            "agreed on MJPG 64x48",
            "offers MJPG 64x48 32x24",
            "offers H264 (not used)",
        ]
    );
}

#[cfg(feature = "v4l")]
#[test]
fn a_camera_that_is_not_there_says_how_to_look_for_it() {
    let mut settings = settings::Config::default().camera;
    settings.device = "/dev/video-that-is-not-there".to_owned();
    let mut camera = V4lCamera::open(&settings).unwrap();
    for _ in 0..2 {
        let error = camera.frame(Duration::from_millis(200)).unwrap_err();
        assert!(matches!(error, CameraError::NotFound { .. }), "{error}");
        assert!(error.to_string().contains("camera"));
    }
}

#[cfg(not(feature = "v4l"))]
#[test]
fn a_binary_without_it_names_the_flag() {
    let error = V4lCamera::open(&settings::Config::default().camera).err().unwrap();
    assert!(error.to_string().contains("--features v4l"), "{error}");
}
