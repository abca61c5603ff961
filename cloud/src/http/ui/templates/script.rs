//! The texts of the page's scripts. A page carries them in an attribute, because the policy allows no inline scripts.

use crate::http::ui::language::Language;
use crate::http::ui::messages::t;

/// Returns the texts as a JSON object by name. The scripts replace `{name}` in a text.
pub(super) fn texts(lang: Language) -> String {
    let texts = [
        ("live", t!(lang, "live")),
        ("reconnecting", t!(lang, "reconnecting", time = "{time}")),
        ("newPicture", t!(lang, "new-picture")),
        ("newPictures", t!(lang, "new-pictures", count = "{count}")),
        ("pictureFrom", t!(lang, "picture-from", from = "{from}", time = "{time}")),
        (
            "picturesFrom",
            t!(lang, "pictures-from", count = "{count}", from = "{from}", time = "{time}"),
        ),
        ("cameras", t!(lang, "cameras-count", count = "{count}")),
        ("sending", t!(lang, "sending")),
        ("snap", t!(lang, "command-snap", camera = "{camera}")),
        ("identify", t!(lang, "command-identify", camera = "{camera}")),
        ("restart", t!(lang, "command-restart", camera = "{camera}")),
        ("diagnostics", t!(lang, "command-diagnostics", camera = "{camera}")),
        ("failed", t!(lang, "command-failed", status = "{status}")),
        ("noResponse", t!(lang, "command-no-response")),
        ("ms", t!(lang, "duration-ms", ms = "{ms}")),
        ("s", t!(lang, "duration-s", s = "{s}")),
        ("min", t!(lang, "duration-min", min = "{min}")),
        ("h", t!(lang, "duration-h", h = "{h}")),
        ("hMin", t!(lang, "duration-h-min", h = "{h}", min = "{min}")),
        ("days", t!(lang, "duration-days", days = "{days}")),
    ];
    let texts = texts.map(|(name, text)| (name.to_owned(), text.0.into()));
    serde_json::Value::Object(texts.into_iter().collect()).to_string()
}
