//! `/setup`, `/login`, `/invitation`: the pages for people who are not known yet. They show nothing of the cloud.

use axum::http::StatusCode;
use maud::{DOCTYPE, Markup, html};

use crate::http::ui::badge::{Tone, shape};
use crate::http::ui::language::Language;
use crate::http::ui::messages::{sentence, t};
use crate::http::ui::templates::{head, language_switch, logo, status_title};
use crate::http::ui::views::{InvitationView, LoginView, SetupView, Visitor};

/// `/setup`.
pub fn setup_page(visitor: &Visitor, view: &SetupView) -> Markup {
    let lang = visitor.language;
    let main = html! {
        h1 { (t!(lang, "setup-title")) }
        (wrong(lang, view.wrong.as_deref()))
        (plain_http_warning(lang, view.plain_http))
        form.fields method="post" action="/setup" {
            label { span { (t!(lang, "setup-code")) }
                input name="code" value=(view.code) required autocomplete="off" autocapitalize="characters" spellcheck="false" maxlength="64" aria-describedby="code-where";
            }
            p #code-where .quiet { (t!(lang, "setup-code-where")) }
            label { span { (t!(lang, "your-name")) }
                input name="name" value=(view.name) required autocomplete="username" autocapitalize="none" spellcheck="false" maxlength="64";
            }
            (new_password(lang))
            button.button.button-first type="submit" { (t!(lang, "create-owner")) }
        }
    };
    bare(visitor, &t!(lang, "setup"), &main)
}

/// `/login`.
pub fn login_page(visitor: &Visitor, view: &LoginView) -> Markup {
    let lang = visitor.language;
    let main = html! {
        h1 { (t!(lang, "log-in")) }
        (wrong(lang, view.wrong.as_deref()))
        (plain_http_warning(lang, view.plain_http))
        form.fields method="post" action="/login" {
            input type="hidden" name="next" value=(view.next);
            label { span { (t!(lang, "name")) }
                input name="name" value=(view.name) required autocomplete="username" autocapitalize="none" spellcheck="false" maxlength="64";
            }
            label { span { (t!(lang, "password")) }
                input name="password" type="password" required autocomplete="current-password" maxlength="512";
            }
            button.button.button-first type="submit" { (t!(lang, "log-in")) }
        }
        p.quiet { (t!(lang, "locked-out", command = html! { code { "cloud user reset NAME" } })) }
    };
    bare(visitor, &t!(lang, "log-in"), &main)
}

/// `/invitation`.
pub fn invitation_page(visitor: &Visitor, view: &InvitationView) -> Markup {
    let lang = visitor.language;
    let main = html! {
        @if let Some(name) = &view.name {
            h1 { (t!(lang, "welcome", name = name.as_str())) }
            (wrong(lang, view.wrong.as_deref()))
            form.fields method="post" action="/invitation" {
                input type="hidden" name="code" value=(view.code);
                input type="hidden" name="name" value=(name) autocomplete="username";
                (new_password(lang))
                button.button.button-first type="submit" { (t!(lang, "set-password")) }
            }
        } @else {
            h1 { (t!(lang, "invitation-over")) }
            p { (t!(lang, "invitation-over-how")) }
            p { a.button href="/login" { (t!(lang, "log-in")) } }
        }
    };
    bare(visitor, &t!(lang, "invitation"), &main)
}

/// The error page for a visitor without access: `detail` is a plain sentence in English.
pub fn denied_page(visitor: &Visitor, status: StatusCode, detail: &str) -> Markup {
    let lang = visitor.language;
    let title = status_title(lang, status);
    let main = html! {
        h1 { (title) }
        p { (sentence(lang, detail)) }
        p { a.button href="/" { (t!(lang, "all-cameras")) } }
        p.quiet { (t!(lang, "http-status", status = status.as_str())) }
    };
    bare(visitor, &title, &main)
}

fn new_password(lang: Language) -> Markup {
    html! {
        label { span { (t!(lang, "password")) }
            input name="password" type="password" required autocomplete="new-password" minlength="10" maxlength="512" aria-describedby="password-how";
        }
        p #password-how .quiet { (t!(lang, "password-rule")) }
    }
}

pub(crate) fn wrong(lang: Language, wrong: Option<&str>) -> Markup {
    html! {
        @if let Some(wrong) = wrong {
            p.trouble role="alert" { (shape(Tone::Err)) span { (sentence(lang, wrong)) } }
        }
    }
}

fn plain_http_warning(lang: Language, plain_http: bool) -> Markup {
    html! {
        @if plain_http {
            p.trouble { (shape(Tone::Wait))
                span { (t!(lang, "plain-http")) }
            }
        }
    }
}

/// A page without navigation and without anything that is known of the cloud.
fn bare(visitor: &Visitor, title: &Markup, main: &Markup) -> Markup {
    let lang = visitor.language;
    html! {
        (DOCTYPE)
        html lang=(lang.code()) {
            (head(title, &html! { meta name="robots" content="noindex"; }))
            body {
                a.skip href="#main" { (t!(lang, "skip")) }
                header.top {
                    span.brand { (logo()) "Keepsake" }
                    (language_switch(visitor))
                }
                main #main .entrance tabindex="-1" { (main) }
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::http::ui::templates::fixtures::HOSTILE;

    /// The pages with views that show every state.
    pub(in crate::http::ui::templates) fn pages(visitor: &Visitor) -> Vec<(&'static str, Markup)> {
        let invitation = |name: Option<&str>, wrong: Option<&str>| InvitationView {
            name: name.map(str::to_owned),
            code: HOSTILE.to_owned(),
            wrong: wrong.map(str::to_owned),
        };
        vec![
            ("refusal", denied_page(visitor, StatusCode::FORBIDDEN, HOSTILE)),
            ("setup", setup_page(visitor, &set_up(""))),
            ("setup-wrong", setup_page(visitor, &set_up(HOSTILE))),
            ("login", login_page(visitor, &log_in(""))),
            ("login-wrong", login_page(visitor, &log_in(HOSTILE))),
            ("invitation", invitation_page(visitor, &invitation(Some("ada"), Some(HOSTILE)))),
            ("invitation-over", invitation_page(visitor, &invitation(None, None))),
        ]
    }

    fn set_up(text: &str) -> SetupView {
        SetupView {
            code: text.to_owned(),
            name: text.to_owned(),
            wrong: (!text.is_empty()).then(|| text.to_owned()),
            plain_http: !text.is_empty(),
        }
    }

    fn log_in(text: &str) -> LoginView {
        LoginView {
            name: text.to_owned(),
            next: text.to_owned(),
            wrong: (!text.is_empty()).then(|| text.to_owned()),
            plain_http: !text.is_empty(),
        }
    }
}
