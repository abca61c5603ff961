//! The author of a request.

use keepsake_protocol::DeviceId;

use crate::auth::token::TokenHash;
use crate::auth::{PrincipalId, Role};

/// The author of a request, as an extension of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Principal {
    /// A client without credentials.
    Anonymous,
    /// A logged-in user.
    User {
        id: PrincipalId,
        name: String,
        role: Role,
        session: TokenHash,
    },
    /// A program with a key.
    ApiToken { id: PrincipalId, name: String, role: Role },
    /// A camera with its upload key.
    Camera { id: PrincipalId, device: DeviceId },
    /// A client without credentials that uploads pictures, where anonymous upload is allowed.
    AnonymousUpload,
}

impl Principal {
    /// Returns the role; none where only uploads are allowed.
    pub(crate) fn role(&self) -> Option<Role> {
        match self {
            Self::User { role, .. } | Self::ApiToken { role, .. } => Some(*role),
            Self::Anonymous | Self::Camera { .. } | Self::AnonymousUpload => None,
        }
    }

    /// Returns true if pictures and messages may be sent in the name of this camera.
    pub(crate) fn may_act_for(&self, camera: &DeviceId) -> bool {
        match self {
            Self::User { role, .. } | Self::ApiToken { role, .. } => *role >= Role::Operator,
            Self::Camera { device, .. } => device == camera,
            Self::AnonymousUpload => true,
            Self::Anonymous => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_camera_speaks_for_itself_alone() {
        let (porch, field): (DeviceId, DeviceId) = ("porch".parse().unwrap(), "field".parse().unwrap());
        let id = PrincipalId::new();
        let program = |role| Principal::ApiToken { id, name: "x".to_owned(), role };
        let camera = Principal::Camera { id, device: porch.clone() };
        for (principal, for_porch, for_field) in [
            (Principal::Anonymous, false, false),
            (Principal::AnonymousUpload, true, true),
            (camera, true, false),
            (program(Role::Viewer), false, false),
            (program(Role::Operator), true, true),
            (program(Role::Owner), true, true),
        ] {
            assert_eq!(principal.may_act_for(&porch), for_porch, "{principal:?}");
            assert_eq!(principal.may_act_for(&field), for_field, "{principal:?}");
        }
    }
}
