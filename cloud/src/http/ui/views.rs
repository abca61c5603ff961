//! The data of each page, read from the store beforehand. The current time comes with [`PageContext`], so that the same
//! view always draws the same page.

use keepsake_protocol::capture::{Cause, ContentType};
use keepsake_protocol::clock::ClockReading;
use keepsake_protocol::command::{CommandKind, CommandStage};
use keepsake_protocol::event::TombstoneReason;
use keepsake_protocol::id::{DeviceId, Hash, PictureId, Sequence, SpoolId, StoreId};
use keepsake_protocol::status::{Health, LedStatus, Presence, Queue};

use crate::auth::{Role, TokenScope};
use crate::http::ui::language::Language;
use crate::store::PictureCursor;

/// The data around the content of every page. All times are microseconds UTC since 1970.
#[derive(Debug, Clone)]
pub struct PageContext {
    pub visitor: Visitor,
    pub now_us: i64,
    pub store: StoreId,
    /// Version of the cloud's program.
    pub version: String,
    /// The address of the web server, such as `http://127.0.0.1:5000`.
    pub http: String,
    /// The address that cameras connect to, such as `mqtt://127.0.0.1:1883`.
    pub mqtt: String,
    /// Both of them are on loopback, so that only this machine gets in.
    pub loopback_only: bool,
    /// Why the cloud takes no pictures at the moment: a plain sentence.
    pub hold: Option<String>,
    /// Unsafe conditions that the configuration allows: plain sentences.
    pub warnings: Vec<String>,
    /// Free space where the pictures are, bytes; absent where it cannot be measured.
    pub free_bytes: Option<u64>,
    /// Messages in quarantine.
    pub quarantined: u64,
    /// Absent for a key: programs may read pages too.
    pub user: Option<SignedInUser>,
    /// The viewer's role.
    pub role: Role,
    /// The address in the browser, such as `https://cam.example:5000`.
    pub origin: String,
}

/// The reader of a page, logged in or not.
#[derive(Debug, Clone)]
pub struct Visitor {
    pub language: Language,
    /// The path of this page, to show it again in another language.
    pub here: String,
}

impl PageContext {
    /// Returns true if the viewer's role is `least` or higher.
    pub fn may(&self, least: Role) -> bool {
        self.role >= least
    }
}

/// `/`: all cameras. The page puts them in order (those with a trouble first, then by name).
#[derive(Debug, Clone)]
pub struct CamerasView {
    pub cameras: Vec<CameraView>,
}

pub use crate::store::Counters;

/// One camera as the overview, its own page and the live fragments show it.
#[derive(Debug, Clone)]
pub struct CameraView {
    pub device: DeviceId,
    /// Absent for one that never sent a status: its pictures come by upload, and it takes no commands.
    pub presence: Option<Presence>,
    /// When something last came from the camera itself.
    pub last_seen_us: i64,
    /// When its last full status came; the numbers on the page are from then.
    pub status_us: Option<i64>,
    /// Over all installs.
    pub counters: Counters,
    /// Pictures whose number another picture has.
    pub conflicts: u64,
    /// Stored pictures that do not decode.
    pub damaged: u64,
    /// From its last status.
    pub queue: Queue,
    /// On the card although the cloud has them.
    pub kept: u64,
    /// The camera joined its ranges to fit, so `held` may be too high.
    pub coarse: bool,
    /// From its last status; absent if it never sent one.
    pub light: Option<LedStatus>,
    /// Faults that hold now, by their number on the light.
    pub faults: Vec<u8>,
    /// Version of the appliance's program; empty if unknown.
    pub version: String,
    pub health: Health,
    pub latest: Option<PictureView>,
    /// The current install first.
    pub installs: Vec<SpoolView>,
}

impl CameraView {
    /// When the numbers on the page were reported.
    pub fn reported_us(&self) -> i64 {
        self.status_us.unwrap_or(self.last_seen_us)
    }
}

#[derive(Debug, Clone)]
pub struct SpoolView {
    pub install: SpoolId,
    pub counters: Counters,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thumbnail {
    Ready,
    /// Not made yet: the tile shows the colour, then the thumbnail.
    Pending,
    /// There will be none: the bytes do not decode.
    None,
}

/// One stored picture.
#[derive(Debug, Clone)]
pub struct PictureView {
    pub id: PictureId,
    pub device: DeviceId,
    pub hash: Hash,
    pub bytes: u64,
    pub content_type: ContentType,
    /// Pixels; 0 where unknown.
    pub width: u32,
    pub height: u32,
    pub cause: Cause,
    /// Its CaptureId has another picture too.
    pub conflict: bool,
    /// The bytes are as sent, and do not decode.
    pub damaged: bool,
    pub pressed: ClockReading,
    /// By all that is known by now.
    pub taken: crate::pictures::capture_time::CaptureTime,
    /// From the press, microseconds.
    pub captured_after_us: u64,
    pub saved_after_us: Option<u64>,
    pub sent_after_us: Option<u64>,
    /// The commit, by the cloud's clock.
    pub stored_us: i64,
    /// The place in the order of capture time.
    pub sort_us: i64,
    /// 0 = the first try.
    pub attempt: u32,
    pub thumbnail: Thumbnail,
    /// The average colour, 0xRRGGBB.
    pub color: Option<u32>,
}

/// `/cameras/{device}`.
#[derive(Debug, Clone)]
pub struct DeviceView {
    pub camera: CameraView,
    /// The moment in its last status, by its own clock.
    pub said: Option<ClockReading>,
    /// Newest first, at most 50.
    pub commands: Vec<CommandView>,
    /// Newest first, at most 50.
    pub tombstones: Vec<TombstoneView>,
    /// Fault events, newest first, at most 50.
    pub faults: Vec<FaultView>,
    /// The newest pictures, newest first; about 12.
    pub recent: Vec<PictureView>,
    /// Absent for one that takes none.
    pub settings: Option<SettingsView>,
}

/// `/cameras/{device}/settings`, and in short on the camera's page.
#[derive(Debug, Clone)]
pub struct SettingsView {
    pub device: DeviceId,
    /// The version of the desired settings; 0 = there are none.
    pub version: u64,
    pub changed_us: Option<i64>,
    /// The version that the camera reported.
    pub camera_version: u64,
    pub state: SettingsState,
    /// Names and reasons, as the camera said them: anything may stand there.
    pub rejected: Vec<(String, String)>,
    pub fields: Vec<FieldView>,
    /// Why what was just sent was not saved.
    pub problem: Option<String>,
}

/// The progress of desired settings.
#[derive(Debug, Clone)]
pub enum SettingsState {
    None,
    Waiting,
    Applied,
    Partly,
    Trying { names: Vec<String>, for_s: u64 },
    Ahead { version: u64 },
}

/// One setting of the form.
#[derive(Debug, Clone)]
pub struct FieldView {
    pub name: &'static str,
    pub what: &'static str,
    pub kind: FieldKind,
    pub connection: bool,
    /// The desired value, or the text that was typed; empty = none. Always empty for a secret.
    pub value: String,
    /// A secret that is wished for.
    pub is_set: bool,
    /// The effective value, as the camera reported it.
    pub current: Option<String>,
    pub rejected: Option<String>,
}

#[derive(Debug, Clone)]
pub enum FieldKind {
    Number { min: u64, max: u64, or_zero: bool, unit: &'static str },
    Choice(&'static [&'static str]),
    Text,
    Token,
}

#[derive(Debug, Clone)]
pub struct CommandView {
    pub id: String,
    pub command: CommandKind,
    pub created_us: i64,
    pub expires_us: i64,
    /// When the broker was handed it; absent while the camera is away.
    pub sent_us: Option<i64>,
    /// In the order they came.
    pub stages: Vec<StageView>,
    /// Bytes of its picture that are here, and its whole length, while it is on its way in parts.
    pub uploading: Option<(u64, u64)>,
    /// The picture that came of it and the time of its commit.
    pub stored: Option<(PictureId, i64)>,
    /// The camera's own diagnostics, verbatim.
    pub result: Option<serde_json::Map<String, serde_json::Value>>,
}

#[derive(Debug, Clone)]
pub struct StageView {
    pub stage: CommandStage,
    /// When the cloud heard of it.
    pub at_us: i64,
    /// From the command's arrival at the camera, microseconds.
    pub after_us: Option<u64>,
    /// The text that the camera sent with it.
    pub text: Option<String>,
}

#[derive(Debug, Clone)]
pub struct TombstoneView {
    pub install: SpoolId,
    pub first: Sequence,
    /// The same as `first` for one press.
    pub last: Sequence,
    pub reason: TombstoneReason,
    pub cause: Cause,
    /// When the cloud stored it.
    pub told_us: i64,
    /// When the button was pressed, where even that was not lost.
    pub pressed: Option<ClockReading>,
}

#[derive(Debug, Clone)]
pub struct FaultView {
    pub number: u8,
    /// The camera's own sentence.
    pub text: String,
    /// When the cloud heard of it.
    pub told_us: i64,
}

/// `/pictures?device=&before=&after=`, newest capture first.
#[derive(Debug, Clone)]
pub struct GalleryView {
    /// All cameras, for the filter.
    pub cameras: Vec<DeviceId>,
    /// The one the gallery is limited to.
    pub device: Option<DeviceId>,
    /// At most 100.
    pub pictures: Vec<PictureView>,
    /// The number of pictures with this filter.
    pub total: u64,
    /// Value of `?after=` that leads to the 100 pictures next to these on the newer side; absent on the first page.
    pub newer: Option<PictureCursor>,
    /// Value of `?before=` that leads to older ones; absent on the last page.
    pub older: Option<PictureCursor>,
}

/// `/pictures/{id}`.
#[derive(Debug, Clone)]
pub struct PictureDetailView {
    pub picture: PictureView,
    /// Neighbours of the same camera by capture time.
    pub newer: Option<PictureId>,
    pub older: Option<PictureId>,
    /// Other pictures with the same CaptureId.
    pub twins: Vec<PictureId>,
}

/// `/quarantine`: what came in and could not be attributed.
#[derive(Debug, Clone)]
pub struct QuarantineView {
    /// Newest first, at most 200.
    pub rows: Vec<QuarantineRow>,
}

#[derive(Debug, Clone)]
pub struct QuarantineRow {
    /// Verbatim from the topic: these can contain anything.
    pub device: String,
    pub topic: String,
    pub reason: String,
    /// SHA-256 of the message, hexadecimal.
    pub hash: String,
    /// Length of the message.
    pub bytes: u64,
    /// The number of times that exactly this message came.
    pub times: u64,
    /// When it came last.
    pub last_us: i64,
}

/// The user who sees the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedInUser {
    pub name: String,
    pub role: Role,
}

/// `/setup`.
#[derive(Debug, Clone)]
pub struct SetupView {
    /// From the link in the log, or as it was typed.
    pub code: String,
    pub name: String,
    /// The error of the last attempt.
    pub wrong: Option<String>,
    /// Passwords travel unprotected, and not only within this computer.
    pub plain_http: bool,
}

/// `/login`.
#[derive(Debug, Clone)]
pub struct LoginView {
    pub name: String,
    /// The path to open after the login; empty for the start page.
    pub next: String,
    pub wrong: Option<String>,
    pub plain_http: bool,
}

/// `/invitation`.
#[derive(Debug, Clone)]
pub struct InvitationView {
    /// Absent if the invitation is used, over or unknown.
    pub name: Option<String>,
    pub code: String,
    pub wrong: Option<String>,
}

/// `/account`.
#[derive(Debug, Clone)]
pub struct AccountView {
    /// Why the password was not changed.
    pub wrong: Option<String>,
    pub sessions: Vec<SessionView>,
}

#[derive(Debug, Clone)]
pub struct SessionView {
    pub id: String,
    /// The one this page is read in.
    pub this: bool,
    pub created_us: i64,
    pub used_us: i64,
    pub address: String,
    /// The user agent of the browser.
    pub agent: String,
}

/// `/users`.
#[derive(Debug, Clone)]
pub struct UsersView {
    /// Name and link of a user just invited.
    pub invited: Option<(String, String)>,
    pub users: Vec<UserView>,
}

#[derive(Debug, Clone)]
pub struct UserView {
    pub id: String,
    pub name: String,
    pub role: Role,
    pub current_user: bool,
    pub has_password: bool,
    pub seen_us: Option<i64>,
}

/// `/tokens`.
#[derive(Debug, Clone)]
pub struct TokensView {
    /// Name and secret of a key just made.
    pub made: Option<(String, String)>,
    pub cameras: Vec<DeviceId>,
    pub tokens: Vec<TokenView>,
}

#[derive(Debug, Clone)]
pub struct TokenView {
    pub id: String,
    pub name: String,
    pub scope: TokenScope,
    pub created_us: i64,
    pub used_us: Option<i64>,
}
