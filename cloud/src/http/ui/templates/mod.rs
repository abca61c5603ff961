//! The pages: pure functions from a view to HTML. They read nothing, know no clock and cannot fail; what they show comes
//! in as a view (`view`) and everything in it is escaped by `maud`.
//!
//! Live pages have no fragments of their own. When the stream says that something changed, `live.js` fetches the page it
//! is on once more and carries the differences over, so what is live is by construction what the page would say. Without
//! JavaScript every page works as it stands: links go, forms post, times are in UTC.
//!
//! The Content-Security-Policy allows neither inline scripts nor inline styles. Colours that come from data (a tile
//! before its thumbnail) are therefore SVG attributes, never `style`.

mod camera;
mod cameras;
mod gallery;
mod led;
mod login;
mod picture;
mod quarantine;
mod settings;
#[cfg(test)]
mod tests;
mod users;

use crate::http::ui::assets;
use crate::http::ui::badge;
use crate::http::ui::format;
use maud::{DOCTYPE, Markup, html};

pub use crate::http::ui::assets::{Asset, asset};
pub use crate::http::ui::templates::camera::camera_page;
pub use crate::http::ui::templates::cameras::cameras_page;
pub use crate::http::ui::templates::gallery::gallery_page;
pub use crate::http::ui::templates::login::{denied_page, invitation_page, login_page, setup_page};
pub use crate::http::ui::templates::picture::picture_page;
pub use crate::http::ui::templates::quarantine::quarantine_page;
pub use crate::http::ui::templates::settings::settings_page;
pub use crate::http::ui::templates::users::{account_page, tokens_page, users_page};
pub use crate::http::ui::views::*;

/// A page for what went wrong: `status` is the HTTP status, `detail` a plain sentence.
pub fn problem_page(site: &PageContext, status: u16, title: &str, detail: &str) -> Markup {
    let main = html! {
        h1 { (title) }
        p.lead { (detail) }
        p { a.button href="/" { "All cameras" } }
        p.quiet { "Status " (status) }
    };
    layout(site, title, Nav::None, &LiveUpdates::No, &main)
}

/// The entry of the navigation that a page belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nav {
    Cameras,
    Pictures,
    Account,
    None,
}

/// The reaction of a page to live events.
enum LiveUpdates<'a> {
    No,
    /// Redraws the page on every change, or only on changes of this camera if one is named.
    Redraw {
        device: Option<&'a str>,
    },
    /// Offers what is new in a link, and never moves what is being looked at.
    Offer {
        device: Option<&'a str>,
    },
}

impl LiveUpdates<'_> {
    const fn as_str(&self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Redraw { .. } => "redraw",
            Self::Offer { .. } => "offer",
        }
    }

    const fn device(&self) -> Option<&str> {
        match self {
            Self::No => None,
            Self::Redraw { device } | Self::Offer { device } => *device,
        }
    }
}

fn layout(site: &PageContext, title: &str, nav: Nav, live: &LiveUpdates<'_>, main: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="same-origin";
                title { (title) " · Keepsake" }
                link rel="icon" type="image/svg+xml" href=(assets::url("icon.svg"));
                link rel="stylesheet" href=(assets::url("page.css"));
                script type="module" src=(assets::url("live.js")) {}
            }
            body data-live=(live.as_str()) data-device=[live.device()] {
                a.skip href="#main" { "Skip to the content" }
                header.top {
                    a.brand href="/" { (logo()) "Keepsake" }
                    nav aria-label="Main" {
                        (nav_link("/", "Cameras", nav == Nav::Cameras))
                        (nav_link("/pictures", "Pictures", nav == Nav::Pictures))
                    }
                    // Filled by live.js: without it nothing here is live, and nothing says so.
                    p #live .live hidden {}
                    @if let Some(user) = &site.user {
                        nav.you aria-label="You" {
                            (nav_link("/account", &user.name, nav == Nav::Account))
                            form method="post" action="/logout" { button type="submit" { "Log out" } }
                        }
                    }
                }
                @if let Some(reason) = &site.hold {
                    section #hold .hold aria-labelledby="hold-title" {
                        (badge::shape(badge::Tone::Err))
                        div {
                            h2 #hold-title { "Uploads paused" }
                            p { (sentence(reason)) " Cameras keep every picture on their card until uploads resume." }
                        }
                    }
                }
                main #main tabindex="-1" { (main) }
                footer #foot {
                    @for warning in &site.warnings {
                        p { (sentence(warning)) " The configuration allows this: a power cut may lose stored pictures." }
                    }
                    p {
                        span { "Keepsake " (site.version) }
                        span { "Store " code { (site.store) } }
                        @if let Some(free) = site.free_bytes {
                            span { (format::size(free)) " free" }
                        }
                        a href="/quarantine" { "Quarantine: " (format::count(site.quarantined)) }
                    }
                }
                p #status .status role="status" {}
            }
        }
    }
}

fn nav_link(href: &str, text: &str, current: bool) -> Markup {
    html! { a href=(href) aria-current=[current.then_some("page")] { (text) } }
}

fn logo() -> Markup {
    html! {
        svg viewBox="0 0 24 24" width="22" height="22" aria-hidden="true" fill="none" stroke="currentColor" stroke-width="2" {
            circle cx="12" cy="12" r="10" {}
            circle cx="12" cy="12" r="4" {}
        }
    }
}

/// A text from elsewhere as a sentence: a capital first, a full stop last.
fn sentence(text: &str) -> String {
    let text = text.trim();
    let mut letters = text.chars();
    let Some(first) = letters.next() else {
        return String::new();
    };
    let end = if text.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{}{}{end}", first.to_uppercase(), letters.as_str())
}
