//! The pages: pure functions from a view to HTML. They read nothing, know no clock and cannot fail; what they show comes
//! in as a view (`views`) and everything in it is escaped by `maud`.
//!
//! Live pages have no fragments of their own. When the stream says that something changed, `live.js` fetches the page it
//! is on once more and carries the differences over, so what is live is by construction what the page would say. Without
//! JavaScript every page works as it stands: links go, forms post, times are in UTC.
//!
//! The Content-Security-Policy allows neither inline scripts nor inline styles. Colours that come from data (a tile
//! before its thumbnail) are therefore SVG attributes, never `style`.

mod camera;
mod cameras;
#[cfg(test)]
pub(crate) mod fixtures;
mod gallery;
mod led;
mod login;
mod picture;
mod quarantine;
mod script;
mod settings;
#[cfg(test)]
mod tests;
mod users;

use crate::http::ui::assets;
use crate::http::ui::badge;
use crate::http::ui::format;
use axum::http::StatusCode;
use maud::{DOCTYPE, Markup, html};

use crate::http::ui::language::Language;
use crate::http::ui::messages::{sentence, t};

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

/// A page for what went wrong: `detail` is a plain sentence in English.
pub fn problem_page(page: &PageContext, status: StatusCode, detail: &str) -> Markup {
    let lang = page.visitor.language;
    let title = status_title(lang, status);
    let main = html! {
        h1 { (title) }
        p.lead { (sentence(lang, detail)) }
        p { a.button href="/" { (t!(lang, "all-cameras")) } }
        p.quiet { (t!(lang, "http-status", status = status.as_str())) }
    };
    layout(page, &title, Nav::None, &LiveUpdates::No, &main)
}

/// Returns the title of an error page.
fn status_title(lang: Language, status: StatusCode) -> Markup {
    match status {
        StatusCode::BAD_REQUEST => t!(lang, "status-400"),
        StatusCode::UNAUTHORIZED => t!(lang, "status-401"),
        StatusCode::FORBIDDEN => t!(lang, "status-403"),
        StatusCode::NOT_FOUND => t!(lang, "status-404"),
        StatusCode::CONFLICT => t!(lang, "status-409"),
        StatusCode::TOO_MANY_REQUESTS => t!(lang, "status-429"),
        StatusCode::SERVICE_UNAVAILABLE => t!(lang, "status-503"),
        StatusCode::INSUFFICIENT_STORAGE => t!(lang, "status-507"),
        _ => t!(lang, "status-other"),
    }
}

/// The choice of language: a form, so that it works without JavaScript.
fn language_switch(visitor: &Visitor) -> Markup {
    html! {
        form.languages method="post" action="/language" aria-label=(t!(visitor.language, "language")) {
            input type="hidden" name="next" value=(visitor.here);
            @for language in Language::ALL {
                button type="submit" name="language" value=(language.code()) lang=(language.code())
                    aria-current=[(language == visitor.language).then_some("true")] { (language.name()) }
            }
        }
    }
}

/// The entry of the navigation that a page belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nav {
    Cameras,
    Pictures,
    Account,
    None,
}

/// The reaction of a page to live events: of all cameras, or only of this one.
enum LiveUpdates<'a> {
    No,
    /// Redraws the page on every change.
    Redraw(Option<&'a str>),
    /// Offers new pictures in a link, and never moves what is being looked at.
    Offer(Option<&'a str>),
}

/// The beginning of every page.
fn head(title: &Markup, more: &Markup) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            meta name="referrer" content="same-origin";
            title { (title) " · Keepsake" }
            link rel="icon" type="image/svg+xml" href=(assets::url("icon.svg"));
            link rel="stylesheet" href=(assets::url("page.css"));
            (more)
        }
    }
}

fn layout(page: &PageContext, title: &Markup, nav: Nav, live: &LiveUpdates<'_>, main: &Markup) -> Markup {
    let lang = page.visitor.language;
    let (live, device) = match live {
        LiveUpdates::No => ("no", None),
        LiveUpdates::Redraw(device) => ("redraw", *device),
        LiveUpdates::Offer(device) => ("offer", *device),
    };
    html! {
        (DOCTYPE)
        html lang=(lang.code()) {
            (head(title, &html! { script type="module" src=(assets::url("live.js")) {} }))
            body data-live=(live) data-device=[device] data-texts=(script::texts(lang)) {
                a.skip href="#main" { (t!(lang, "skip")) }
                header.top {
                    a.brand href="/" { (logo()) "Keepsake" }
                    nav aria-label=(t!(lang, "nav-main")) {
                        (nav_link("/", &t!(lang, "cameras-title"), nav == Nav::Cameras))
                        (nav_link("/pictures", &t!(lang, "pictures-title"), nav == Nav::Pictures))
                    }
                    // Filled by live.js: without it nothing here is live, and nothing says so.
                    p #live .live hidden {}
                    @if let Some(user) = &page.user {
                        nav.you aria-label=(t!(lang, "account")) {
                            (nav_link("/account", &html! { (user) }, nav == Nav::Account))
                            form method="post" action="/logout" { button type="submit" { (t!(lang, "log-out")) } }
                        }
                    }
                }
                @if let Some(reason) = &page.hold {
                    section #hold .hold aria-labelledby="hold-title" {
                        (badge::shape(badge::Tone::Err))
                        div {
                            h2 #hold-title { (t!(lang, "uploads-paused")) }
                            p { (sentence(lang, reason)) " " (t!(lang, "hold-cameras")) }
                        }
                    }
                }
                main #main tabindex="-1" { (main) }
                footer #foot {
                    @for warning in &page.warnings {
                        p { (sentence(lang, warning)) " " (t!(lang, "warning-allowed")) }
                    }
                    p {
                        span { "Keepsake " (page.version) }
                        span { (t!(lang, "store", id = html! { code { (page.store) } })) }
                        @if let Some(free) = page.free_bytes {
                            span { (t!(lang, "free", size = format::size(free).as_str())) }
                        }
                        a href="/quarantine" { (t!(lang, "quarantine-count", count = page.quarantined)) }
                    }
                    (language_switch(&page.visitor))
                }
                p #status .status role="status" {}
            }
        }
    }
}

fn nav_link(href: &str, text: &Markup, current: bool) -> Markup {
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
