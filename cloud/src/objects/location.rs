//! Setting `bytes`: where the bytes of new pictures are stored.

use std::fmt;
use std::path::{Path, PathBuf};

/// The place for the bytes of new pictures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BytesSetting {
    /// Table `picture_bytes`.
    Database,
    /// One file for each picture in this folder.
    Folder(PathBuf),
}

impl BytesSetting {
    /// Parses `database` or `folder:PATH`; a relative path begins at `data`.
    ///
    /// # Errors
    /// A sentence that says what is expected.
    pub fn parse(text: &str, data: &Path) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "database" => Ok(Self::Database),
            Some(("folder", path)) if !path.is_empty() => {
                let path = data.join(path);
                let absolute = std::path::absolute(&path).map_err(|error| format!("{}: {error}", path.display()))?;
                match absolute.to_str() {
                    Some(text) if text.len() <= Self::LENGTH_MAX => Ok(Self::Folder(absolute)),
                    Some(_) => Err(format!("the path is longer than {} characters", Self::LENGTH_MAX)),
                    None => Err("the path is not UTF-8".to_owned()),
                }
            }
            _ => Err(format!("{text} is none of database, folder:PATH and s3://BUCKET/PREFIX")),
        }
    }

    /// The longest path or prefix, characters; column `bytes_place.url` has room for it.
    const LENGTH_MAX: usize = 400;
}

impl fmt::Display for BytesSetting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database => formatter.write_str("database"),
            Self::Folder(path) => write!(formatter, "folder:{}", path.display()),
        }
    }
}
