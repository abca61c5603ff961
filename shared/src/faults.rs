//! The faults of a camera. The camera's LED, status and files, the cloud's pages and the documents explain them from
//! this table.

/// A condition that keeps the camera from working, by its number on the LED. The numbers follow the order of setup,
/// so the number also shows how far the camera got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum FaultCode {
    Config = 1,
    Network = 2,
    Cloud = 3,
    Pairing = 4,
    Camera = 5,
    Card = 6,
    Program = 7,
}

/// One row of the table.
struct Fault {
    name: &'static str,
    title: &'static str,
    meaning: &'static str,
    remedy: &'static str,
}

impl FaultCode {
    pub const ALL: [Self; 7] = [
        Self::Config,
        Self::Network,
        Self::Cloud,
        Self::Pairing,
        Self::Camera,
        Self::Card,
        Self::Program,
    ];

    /// Returns the number, 1 to 7.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// Returns the fault with this number; none if a newer camera sent it.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|fault| fault.number() == number)
    }

    /// Returns the name of its LED pattern.
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// Returns a title of a few words.
    pub const fn title(self) -> &'static str {
        self.row().title
    }

    /// Returns what is wrong, in sentences.
    pub const fn meaning(self) -> &'static str {
        self.row().meaning
    }

    /// Returns what a person can do, in sentences.
    pub const fn remedy(self) -> &'static str {
        self.row().remedy
    }

    const fn row(self) -> Fault {
        match self {
            Self::Config => Fault {
                name: "fault-1",
                title: "Settings unreadable",
                meaning: "camera.toml has an error. The camera works with the last good settings and takes pictures.",
                remedy: "Correct the line that `appliance check-config` names. You can edit the card on any computer.",
            },
            Self::Network => Fault {
                name: "fault-2",
                title: "No network",
                meaning: "No Wi-Fi or network. Pictures are kept.",
                remedy: "Check the Wi-Fi name and password in camera.toml, the router, or the cable.",
            },
            Self::Cloud => Fault {
                name: "fault-3",
                title: "Different cloud",
                meaning: "The camera is paired with a different cloud from the one that answers. Pictures are kept.",
                remedy: "If that is intended, hold the button for 10 s or run `appliance unpair`. \
                         Otherwise check `url` under `[cloud]` in camera.toml.",
            },
            Self::Pairing => Fault {
                name: "fault-4",
                title: "Access denied",
                meaning: "The broker or the cloud rejected the camera's credentials, or the camera does not trust \
                          their certificate. Pictures are kept.",
                remedy: "Check `user`, `password`, `token` and `ca_file` under `[cloud]` in camera.toml.",
            },
            Self::Camera => Fault {
                name: "fault-5",
                title: "Camera not found",
                meaning: "The camera is not found or does not work. Presses are recorded without a picture.",
                remedy: "Disconnect the power, check the ribbon or USB cable at both ends, and reconnect the power. \
                         `appliance self-test` tests the camera.",
            },
            Self::Card => Fault {
                name: "fault-6",
                title: "Card full or failing",
                meaning: "The card is full or failing.",
                remedy: "While the camera is online, uploads make room. Otherwise use another card; \
                         `appliance spool export` saves the pictures of the old one.",
            },
            Self::Program => Fault {
                name: "fault-7",
                title: "Program stopped",
                meaning: "The program stopped. It is restarted automatically.",
                remedy: "If the fault remains, disconnect and reconnect the power. `journalctl -u keepsake-appliance` \
                         shows the reason.",
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A camera reports fault 3 only to a cloud that it has reached, so advice about reaching it would be wrong.
    #[test]
    fn faults_3_and_4_are_explained_as_the_camera_means_them() {
        let advice = |fault: FaultCode| format!("{} {}", fault.meaning(), fault.remedy());
        assert!(advice(FaultCode::Cloud).contains("paired with a different cloud"));
        assert!(!advice(FaultCode::Cloud).contains("reach"));
        assert!(advice(FaultCode::Pairing).contains("credentials"));
        assert!(advice(FaultCode::Pairing).contains("certificate"));
    }

    #[test]
    fn a_number_names_its_fault() {
        for fault in FaultCode::ALL {
            assert_eq!(FaultCode::from_number(fault.number()), Some(fault));
            assert_eq!(fault.name(), format!("fault-{}", fault.number()));
        }
        assert_eq!(FaultCode::from_number(0), None);
        assert_eq!(FaultCode::from_number(8), None);
    }
}
