//! Style, scripts and icon, carried in the binary. Their URL holds a hash over all of them, so a browser may keep them for
//! ever and still gets the new ones after an update; within the folder they import one another by plain names.

use std::borrow::Cow;
use std::sync::LazyLock;

use keepsake_protocol::Hash;
use rust_embed::RustEmbed;

#[derive(RustEmbed)]
#[folder = "assets/"]
struct Files;

static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut all = Vec::new();
    let mut names: Vec<_> = Files::iter().collect();
    names.sort();
    for name in names {
        if let Some(file) = Files::get(&name) {
            all.extend_from_slice(name.as_bytes());
            all.extend_from_slice(&file.metadata.sha256_hash());
        }
    }
    Hash::of(&all).prefix().to_string()
});

/// A file of the page, ready to be sent.
#[derive(Debug)]
pub struct Asset {
    pub content_type: &'static str,
    pub bytes: Cow<'static, [u8]>,
    /// With its quotation marks, as the header wants it.
    pub etag: String,
    pub cache_control: &'static str,
}

/// The asset at `path`, which is what follows `/assets/`: `{version}/page.css`. `None` for any other name.
///
/// Another version (a page opened before an update) gets the file of today, and is told not to keep it.
pub fn asset(path: &str) -> Option<Asset> {
    let (version, name) = path.split_once('/')?;
    let content_type = match name.rsplit_once('.')?.1 {
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "svg" => "image/svg+xml",
        "txt" => "text/plain; charset=utf-8",
        _ => return None,
    };
    let file = Files::get(name)?;
    Some(Asset {
        content_type,
        etag: format!("\"{}\"", hex::encode(&file.metadata.sha256_hash()[..8])),
        bytes: file.data,
        cache_control: if version == *VERSION {
            "public, max-age=31536000, immutable"
        } else {
            "no-cache"
        },
    })
}

/// Returns the URL of the asset `name`.
pub(crate) fn url(name: &str) -> String {
    format!("/assets/{}/{name}", *VERSION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_asset_is_found_by_its_url_and_may_be_kept_for_ever() {
        for name in Files::iter() {
            let asset = asset(url(&name).strip_prefix("/assets/").unwrap()).unwrap();
            assert!(asset.cache_control.contains("immutable"), "{name}");
            assert!(!asset.bytes.is_empty());
        }
        assert_eq!(asset("old/page.css").unwrap().cache_control, "no-cache");
    }

    /// `npm pack idiomorph@0.8.0`, file `dist/idiomorph.esm.js`.
    #[test]
    fn foreign_code_is_as_its_authors_published_it() {
        let file = Files::get("vendor/idiomorph-0.8.0.esm.js").unwrap();
        assert_eq!(
            Hash::of(&file.data).to_string(),
            "e1e2c7dbd606233d302bac48074fd1307c15609b77ea485c18f1b13d6be67c14"
        );
    }

    #[test]
    fn nothing_else_is_an_asset() {
        for path in [
            "",
            "page.css",
            "x/",
            "x/../Cargo.toml",
            "x//etc/passwd",
            "x/page.css/",
            "x/../../src/main.rs",
        ] {
            assert!(asset(path).is_none(), "{path}");
        }
    }
}
