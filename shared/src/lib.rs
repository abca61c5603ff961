//! The Keepsake wire protocol, and nothing else: no async, no clock, no files, no sockets.
//!
//! A camera writes `keepsake/v1/{device}/up/#` and reads `keepsake/v1/{device}/down/#`. A press becomes a
//! *capture*, named by its [`CaptureId`] (install, sequence) and the SHA-256 [`struct@Hash`] of the whole picture. The bytes
//! travel as [`capture::Frame`]s, the cloud commits them and only then answers with a [`receipt::Receipt`]; the camera
//! lets go of a capture on nothing less (P2). `docs/protocol.md` tells the same story for a stranger.
//!
//! Everything here comes from outside and is parsed once, bounded, and never panics. Unknown JSON fields are ignored,
//! so a newer peer may say more; the version of the whole protocol is in the topic and in the frame's first bytes.
//! The modules in reading order: names ([`id`], [`topic`], [`ranges`], [`time`]), messages from the camera
//! ([`capture`], [`have`], [`presence`], [`event`]), messages from the cloud ([`receipt`], [`command`], [`settings`]),
//! how HTTP brings those ([`down`]), and how all of them become bytes ([`codec`]).

pub mod capture;
pub mod clock;
pub mod codec;
pub mod command;
pub mod downlink;
pub mod event;
pub mod id;
pub mod inventory;
pub mod presence;
pub mod ranges;
pub mod receipt;
pub mod settings;
pub mod topic;

pub use id::{BootId, CaptureId, DeviceId, Hash, HashPrefix, Sequence, SpoolId, StoreId};
