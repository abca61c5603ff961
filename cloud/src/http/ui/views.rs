//! The data of each page, read from the store beforehand. The current time comes with [`PageContext`], so that the same
//! view always draws the same page.

use keepsake_protocol::event::{Fault, Tombstone};
use keepsake_protocol::id::{DeviceId, PictureId, StoreId};
use keepsake_protocol::settings::SettingsReport;

use crate::auth::token::TokenHash;
use crate::auth::{PrincipalId, Role};
use crate::http::settings_progress::SettingsProgress;
use crate::http::ui::language::Language;
use crate::store::{ApiToken, Command, Device, DeviceSettings, LoginSession, Picture, PictureCursor, User};

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
    /// The reason why the cloud accepts no uploads: a plain sentence.
    pub hold: Option<String>,
    /// Unsafe conditions that the configuration allows: plain sentences.
    pub warnings: Vec<String>,
    /// Free space where the pictures are, bytes; absent where it cannot be measured.
    pub free_bytes: Option<u64>,
    /// Messages in quarantine.
    pub quarantined: u64,
    /// The name of the user who reads the page; absent for an API token, because programs may read pages too.
    pub user: Option<String>,
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

/// `/cameras/{device}`.
#[derive(Debug, Clone)]
pub struct DeviceView {
    pub camera: Device,
    /// Newest first, at most 50.
    pub commands: Vec<CommandView>,
    /// With the times of their commits, newest first, at most 50.
    pub tombstones: Vec<(Tombstone, i64)>,
    /// With the times of their commits, newest first, at most 50.
    pub faults: Vec<(Fault, i64)>,
    /// The newest pictures, newest first; about 12.
    pub recent: Vec<Picture>,
    /// Absent for a camera that accepts no settings.
    pub settings: Option<SettingsView>,
}

/// `/cameras/{device}/settings`, and in short on the camera's page.
#[derive(Debug, Clone)]
pub struct SettingsView {
    pub device: DeviceId,
    /// Absent if nothing was ever changed here.
    pub desired: Option<DeviceSettings>,
    /// The version that the camera reported.
    pub camera_version: u64,
    /// Its texts are from the camera and can contain anything.
    pub report: SettingsReport,
    pub progress: SettingsProgress,
    /// Names and texts of a form that was not saved.
    pub submitted: Vec<(String, String)>,
    /// The reason why it was not saved.
    pub problem: Option<String>,
}

#[derive(Debug, Clone)]
pub struct CommandView {
    pub command: Command,
    /// The received and the total bytes of its picture while that is uploaded in parts.
    pub uploading: Option<(u64, u64)>,
    /// The picture that it produced, and the time of its commit.
    pub stored: Option<(PictureId, i64)>,
}

/// `/pictures?device=&before=&after=`, newest capture first.
#[derive(Debug, Clone)]
pub struct GalleryView {
    /// All cameras, for the filter.
    pub cameras: Vec<DeviceId>,
    /// The one the gallery is limited to.
    pub device: Option<DeviceId>,
    /// At most 100.
    pub pictures: Vec<Picture>,
    /// The number of pictures with this filter.
    pub total: u64,
    /// The number of pictures of all cameras that wait for their thumbnail.
    pub pending_thumbnails: u64,
    /// Value of `?after=` that leads to the 100 pictures next to these on the newer side; absent on the first page.
    pub newer: Option<PictureCursor>,
    /// Value of `?before=` that leads to older ones; absent on the last page.
    pub older: Option<PictureCursor>,
}

/// `/pictures/{id}`.
#[derive(Debug, Clone)]
pub struct PictureDetailView {
    pub picture: Picture,
    /// Neighbours of the same camera by capture time.
    pub newer: Option<PictureId>,
    pub older: Option<PictureId>,
    /// Other pictures with the same CaptureId.
    pub twins: Vec<PictureId>,
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
    /// The reason why the password was not changed.
    pub wrong: Option<String>,
    pub sessions: Vec<LoginSession>,
    /// The session in which this page is read.
    pub current_session: TokenHash,
}

/// `/users`.
#[derive(Debug, Clone)]
pub struct UsersView {
    /// Name and link of a user just invited.
    pub invited: Option<(String, String)>,
    pub users: Vec<User>,
    /// The user who reads the page; absent for an API token.
    pub current_user: Option<PrincipalId>,
}

/// `/tokens`.
#[derive(Debug, Clone)]
pub struct TokensView {
    /// Name and secret of a token just created.
    pub created: Option<(String, String)>,
    pub cameras: Vec<DeviceId>,
    pub tokens: Vec<ApiToken>,
}
