//! `/setup`, `/login`, `/invitation`: the pages for people who are not known yet. They show nothing of the cloud.

use maud::{DOCTYPE, Markup, html};

use crate::http::ui::assets;
use crate::http::ui::badge::{Tone, shape};
use crate::http::ui::templates::logo;
use crate::http::ui::views::{InvitationView, LoginView, SetupView};

/// `/setup`.
pub fn setup_page(view: &SetupView) -> Markup {
    let main = html! {
        h1 { "Set up Keepsake" }
        (wrong(view.wrong.as_deref()))
        (plain_http_warning(view.plain_http))
        form.fields method="post" action="/setup" {
            label { span { "Setup code" }
                input name="code" value=(view.code) required autocomplete="off" autocapitalize="characters" spellcheck="false" maxlength="64" aria-describedby="code-where";
            }
            p #code-where .quiet { "You'll find it in the server log, printed at startup." }
            label { span { "Your name" }
                input name="name" value=(view.name) required autocomplete="username" autocapitalize="none" spellcheck="false" maxlength="64";
            }
            (new_password())
            button.button.button-first type="submit" { "Create owner account" }
        }
    };
    bare("Setup", &main)
}

/// `/login`.
pub fn login_page(view: &LoginView) -> Markup {
    let main = html! {
        h1 { "Log in" }
        (wrong(view.wrong.as_deref()))
        (plain_http_warning(view.plain_http))
        form.fields method="post" action="/login" {
            input type="hidden" name="next" value=(view.next);
            label { span { "Name" }
                input name="name" value=(view.name) required autocomplete="username" autocapitalize="none" spellcheck="false" maxlength="64";
            }
            label { span { "Password" }
                input name="password" type="password" required autocomplete="current-password" maxlength="512";
            }
            button.button.button-first type="submit" { "Log in" }
        }
        p.quiet { "Locked out? Ask an owner for a reset link, or run " code { "cloud user reset NAME" } " on the server." }
    };
    bare("Log in", &main)
}

/// `/invitation`.
pub fn invitation_page(view: &InvitationView) -> Markup {
    let main = html! {
        @if let Some(name) = &view.name {
            h1 { "Welcome, " (name) }
            (wrong(view.wrong.as_deref()))
            form.fields method="post" action="/invitation" {
                input type="hidden" name="code" value=(view.code);
                input type="hidden" name="name" value=(name) autocomplete="username";
                (new_password())
                button.button.button-first type="submit" { "Set password" }
            }
        } @else {
            h1 { "This invitation has expired or was already used" }
            p { "Ask the sender for a new one. If you have already set your password, log in." }
            p { a.button href="/login" { "Log in" } }
        }
    };
    bare("Invitation", &main)
}

/// The error page for a visitor without access.
pub fn denied_page(status: u16, title: &str, detail: &str) -> Markup {
    let main = html! {
        h1 { (title) }
        p { (detail) }
        p { a.button href="/" { "All cameras" } }
        p.quiet { "Status " (status) }
    };
    bare(title, &main)
}

fn new_password() -> Markup {
    html! {
        label { span { "Password" }
            input name="password" type="password" required autocomplete="new-password" minlength="10" maxlength="512" aria-describedby="password-how";
        }
        p #password-how .quiet { "At least 10 characters. Four random words are easy to remember." }
    }
}

pub(crate) fn wrong(wrong: Option<&str>) -> Markup {
    html! {
        @if let Some(wrong) = wrong {
            p.trouble role="alert" { (shape(Tone::Err)) span { (wrong) } }
        }
    }
}

fn plain_http_warning(plain_http: bool) -> Markup {
    html! {
        @if plain_http {
            p.trouble { (shape(Tone::Wait))
                span { "This connection is not encrypted. Anyone on the network can read your password. Use HTTPS or a tunnel." }
            }
        }
    }
}

/// A page without navigation and without anything that is known of the cloud.
fn bare(title: &str, main: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="same-origin";
                meta name="robots" content="noindex";
                title { (title) " · Keepsake" }
                link rel="icon" type="image/svg+xml" href=(assets::url("icon.svg"));
                link rel="stylesheet" href=(assets::url("page.css"));
            }
            body {
                a.skip href="#main" { "Skip to the content" }
                header.top { span.brand { (logo()) "Keepsake" } }
                main #main .entrance tabindex="-1" { (main) }
            }
        }
    }
}
