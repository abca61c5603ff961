//! Setting `bytes`: where the bytes of new pictures are stored.

use std::fmt;
use std::path::{Path, PathBuf};

use url::Url;

/// The place for the bytes of new pictures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BytesSetting {
    /// Table `picture_bytes`.
    Database,
    /// One file for each picture in this folder.
    Folder(PathBuf),
    /// One object for each picture in this bucket.
    S3(S3Location),
}

/// A bucket, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Location {
    pub bucket: String,
    /// In front of every key, without a slash at its ends.
    pub prefix: String,
    /// Another server than that of AWS.
    pub endpoint: Option<String>,
    /// Otherwise that of the environment, or us-east-1.
    pub region: Option<String>,
}

impl BytesSetting {
    /// Parses `database`, `folder:PATH` or `s3://BUCKET/PREFIX?endpoint=URL&region=NAME`; a relative path begins at
    /// `data`.
    ///
    /// # Errors
    /// A sentence that says what is expected.
    pub fn parse(text: &str, data: &Path) -> Result<Self, String> {
        let setting = match text.split_once(':') {
            None if text == "database" => Self::Database,
            Some(("folder", path)) if !path.is_empty() => {
                let path = data.join(path);
                let path = std::path::absolute(&path).map_err(|error| format!("{}: {error}", path.display()))?;
                path.to_str().ok_or("the path is not UTF-8")?;
                Self::Folder(path)
            }
            Some(("s3", _)) => Self::S3(parse_s3(text)?),
            _ => return Err(format!("{text} is none of database, folder:PATH and s3://BUCKET/PREFIX")),
        };
        let length = setting.to_string().chars().count();
        if length > Self::LENGTH_MAX {
            return Err(format!("it has {length} characters; at most {} are possible", Self::LENGTH_MAX));
        }
        Ok(setting)
    }

    /// The longest setting, characters; column `bytes_place.url` has as many.
    const LENGTH_MAX: usize = 512;
}

fn parse_s3(text: &str) -> Result<S3Location, String> {
    const EXPECTED: &str = "expected s3://BUCKET/PREFIX, and for another server than that of AWS ?endpoint=URL";
    let url = Url::parse(text).map_err(|error| format!("{text}: {error}; {EXPECTED}"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "the credentials of S3 belong into the environment, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY".into(),
        );
    }
    let bucket = url.host_str().unwrap_or_default().to_owned();
    let prefix = url.path().trim_matches('/').to_owned();
    let plain = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | '.' | '/');
    if bucket.is_empty() || prefix.is_empty() || !prefix.chars().all(plain) || prefix.contains("//") {
        return Err(format!("{text}: the prefix has letters, digits and - _ . /; {EXPECTED}"));
    }
    let mut location = S3Location { bucket, prefix, endpoint: None, region: None };
    for (name, value) in url.query_pairs() {
        let value = Some(value.into_owned()).filter(|value| !value.is_empty());
        match name.as_ref() {
            "endpoint" => location.endpoint = value,
            "region" => location.region = value,
            _ => return Err(format!("{text}: {name} is neither endpoint nor region")),
        }
    }
    let usable = |url: Url| ["http", "https"].contains(&url.scheme()) && url.username().is_empty();
    if let Some(endpoint) = &location.endpoint
        && !Url::parse(endpoint).is_ok_and(usable)
    {
        return Err("the endpoint must be an address that begins with https:// or http://, without a password".into());
    }
    Ok(location)
}

impl fmt::Display for BytesSetting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database => formatter.write_str("database"),
            Self::Folder(path) => write!(formatter, "folder:{}", path.display()),
            Self::S3(location) => location.fmt(formatter),
        }
    }
}

impl fmt::Display for S3Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "s3://{}/{}", self.bucket, self.prefix)?;
        let more = [("endpoint", &self.endpoint), ("region", &self.region)];
        let more = more
            .into_iter()
            .filter_map(|(name, value)| value.as_ref().map(|value| format!("{name}={value}")));
        let more: Vec<String> = more.collect();
        if !more.is_empty() {
            write!(formatter, "?{}", more.join("&"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_read_and_shown_alike() {
        let data = Path::new("/data");
        for (text, shown) in [
            ("database", "database"),
            ("folder:pictures", "folder:/data/pictures"),
            ("folder:/disk/pictures", "folder:/disk/pictures"),
            ("s3://bucket/prefix", "s3://bucket/prefix"),
            ("s3://bucket/a/b/?region=eu-1", "s3://bucket/a/b?region=eu-1"),
            (
                "s3://b/p?endpoint=http://nas.lan:9000&region=x",
                "s3://b/p?endpoint=http://nas.lan:9000&region=x",
            ),
        ] {
            let setting = BytesSetting::parse(text, data).unwrap();
            assert_eq!(setting.to_string(), shown);
            assert_eq!(BytesSetting::parse(shown, data), Ok(setting));
        }
    }

    #[test]
    fn a_wrong_setting_says_what_is_expected() {
        let long = format!("folder:{}", "x".repeat(600));
        for (text, expected) in [
            ("", "none of database"),
            ("folder:", "none of database"),
            ("/disk/pictures", "folder:PATH"),
            ("s3://bucket", "s3://BUCKET/PREFIX"),
            ("s3:///prefix", "s3://BUCKET/PREFIX"),
            ("s3://bucket/a b", "letters, digits"),
            ("s3://key:secret@bucket/prefix", "AWS_ACCESS_KEY_ID"),
            ("s3://bucket/prefix?zone=1", "zone is neither"),
            ("s3://bucket/prefix?endpoint=https://key:secret@nas", "without a password"),
            ("s3://bucket/prefix?endpoint=nas", "begins with https://"),
            (&long, "at most 512"),
        ] {
            let error = BytesSetting::parse(text, Path::new("/data")).unwrap_err();
            assert!(error.contains(expected) && !error.contains("secret"), "{text}: {error}");
        }
    }
}
